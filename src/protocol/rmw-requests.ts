import { alignUp, copyPadded, copyWords, writeU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { FLAG_PARTS, FLAG_TOMBSTONE, FLAG_VALUE, WORD_ENVELOPE_BYTES, WORD_KEY_BYTES, writeHead } from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER, PHASE_ACCEPT, PHASE_COMMIT, PHASE_PREPARE, PHASE_RMW_FETCH } from './operation-table.ts';
import type { Peer } from './peer.ts';
import type { Writer } from './put-flow.ts';
import {
  ACCEPT_BYTES,
  COMMIT_BYTES,
  FLAG_NEXT,
  FLAG_REGISTER,
  FLAG_RELEASE,
  FLAG_YIELD,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  MESSAGE_PREPARE,
  PREPARE_BYTES,
  PROMISE_ACCEPTED_BYTES,
  RING_ENTRY_BYTES,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_RMW,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_TAG,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_RING_COUNT,
  WORD_COMMIT_RMW,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_TAG,
  WORD_COMMIT_WRITER,
  WORD_PREPARE_BALLOT,
  WORD_PREPARE_ENVELOPE_BYTES,
  WORD_PREPARE_KEY,
  WORD_PREPARE_SLOT,
} from './rmw-messages.ts';
import { PROPOSAL_COUNTER, PROPOSAL_ID, PROPOSAL_TAG } from './rmw-operation.ts';
import { hasMember } from './quorum.ts';
import type { RmwOperation, RmwOperations } from './rmw-operation.ts';
import type { Requests } from './requests.ts';
import {
  MESSAGE_READ_ACCEPTED,
  READ_ACCEPTED_BYTES,
  WORD_READ_ACCEPTED_BYTES,
  WORD_READ_ACCEPTED_ID,
  WORD_READ_ACCEPTED_KEY,
  WORD_READ_ACCEPTED_OFFSET,
  WORD_READ_ACCEPTED_SLOT,
} from './rmw-part-messages.ts';

/** Writes a read-modify-write's requests from its places in the tables. False when the session takes nothing now. */
export class RmwRequests {
  readonly #table: OperationTable;
  readonly #operations: RmwOperations;
  readonly #requests: Requests;
  readonly #messenger: Messenger;
  readonly #sealing: ValueSealing;
  readonly #writer: Writer;

  constructor(
    table: OperationTable,
    operations: RmwOperations,
    requests: Requests,
    messenger: Messenger,
    sealing: ValueSealing,
    writer: Writer,
  ) {
    this.#table = table;
    this.#operations = operations;
    this.#requests = requests;
    this.#messenger = messenger;
    this.#sealing = sealing;
    this.#writer = writer;
  }

  /** What the phase asks. */
  ask(session: Session<Peer>, slot: number, member: number): boolean {
    const operation = this.#operations.of(slot);
    switch (this.#table.phase[slot]!) {
      case PHASE_PREPARE: {
        const valueFlag = this.#table.valueMember[slot] === member ? FLAG_VALUE : 0;
        // Only the slot itself tells what became of a proposal that was sent in it.
        const nextFlag = operation.sent === 0 ? FLAG_NEXT : 0;
        // Whom the gate has let through goes before those that it has not.
        const { gate, isLetThrough, promised } = operation;
        const yieldFlag = gate === NO_MEMBER || isLetThrough || hasMember(promised, gate) ? 0 : FLAG_YIELD;
        return this.#prepare(session, slot, operation, valueFlag | nextFlag | yieldFlag, operation.slot);
      }
      case PHASE_RMW_FETCH:
        // Wherever the member is, it has the value.
        return this.#prepare(session, slot, operation, FLAG_VALUE | FLAG_NEXT | FLAG_REGISTER, 1);
      case PHASE_ACCEPT:
        return this.#accept(session, slot, operation);
      case PHASE_COMMIT:
        return this.commit(session, slot);
      default:
        return false;
    }
  }

  /** Whether the member gets a value by parts before it is asked again. */
  lacks(slot: number, member: number): boolean {
    return hasMember(this.#operations.of(slot).lacks, member);
  }

  /** The promise is not needed: others need not wait until it is no longer fresh. */
  release(session: Session<Peer>, slot: number): void {
    const operation = this.#operations.of(slot);
    this.#prepare(session, slot, operation, FLAG_RELEASE, operation.slot);
  }

  /** Members whose answer would help the phase on, of those that are ready. */
  eligible(slot: number): number {
    const table = this.#table;
    const { commitPurpose, targets, granted } = this.#operations.of(slot);
    switch (table.phase[slot]!) {
      case PHASE_RMW_FETCH:
        return this.holdersOfValue(slot);
      case PHASE_COMMIT:
        // A member that was not ready when the phase began holds what is decided as well as any.
        if (commitPurpose === 'catch-up') return targets & ~granted;
        return commitPurpose === 'read' ? ~table.holders[slot]! : ~granted;
      default:
        return -1;
    }
  }

  /** Who may have a good copy of the greatest stamp's value. */
  holdersOfValue(slot: number): number {
    const table = this.#table;
    return table.holders[slot]! & ~(table.bad[slot]! | table.lacking[slot]!);
  }

  /** A part of what the member it is pulled from holds: of its register, or, to help, of what it has accepted. */
  readPart(session: Session<Peer>, slot: number, byteOffset: number, byteCount: number): boolean {
    const operation = this.#operations.of(slot);
    if (operation.openPurpose !== 'help') return this.#requests.readPart(session, slot, byteOffset, byteCount);
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    if (!this.#messenger.append(session, READ_ACCEPTED_BYTES + alignUp(keyBytes), 0, true)) return false;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeHead(words, word, MESSAGE_READ_ACCEPTED, 0, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_READ_ACCEPTED_BYTES] = byteCount;
    writeU53(words, word + WORD_READ_ACCEPTED_SLOT, operation.slot);
    copyWords(words, word + WORD_READ_ACCEPTED_ID, operation.accepted.words, PROPOSAL_ID, 4);
    words[word + WORD_READ_ACCEPTED_OFFSET] = byteOffset;
    words[word + WORD_READ_ACCEPTED_OFFSET + 1] = 0;
    table.copyKey(slot, words, word + WORD_READ_ACCEPTED_KEY);
    return true;
  }

  /** Whether a proposal of so many bytes goes into one datagram to this peer, and from it. */
  fits(session: Session<Peer>, slot: number, envelopeBytes: number): boolean {
    const acceptBytes = ACCEPT_BYTES + alignUp(this.#table.keyBytes[slot]!);
    return this.#messenger.fits(session, Math.max(acceptBytes, PROMISE_ACCEPTED_BYTES), envelopeBytes);
  }

  #prepare(
    session: Session<Peer>,
    slot: number,
    operation: RmwOperation,
    flags: number,
    consensusSlot: number,
  ): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    if (!this.#messenger.append(session, PREPARE_BYTES + alignUp(keyBytes), 0)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, MESSAGE_PREPARE, flags, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    const valueBytes = operation.value.byteCount;
    words[word + WORD_PREPARE_ENVELOPE_BYTES] = valueBytes === 0 ? 0 : this.#sealing.envelopeBytesOf(valueBytes);
    writeU53(words, word + WORD_PREPARE_SLOT, consensusSlot);
    this.#writeBallot(words, word + WORD_PREPARE_BALLOT, operation);
    table.copyKey(slot, words, word + WORD_PREPARE_KEY);
    return true;
  }

  #accept(session: Session<Peer>, slot: number, operation: RmwOperation): boolean {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    const proposal = operation.current;
    const byParts = !this.fits(session, slot, proposal.envelopeBytes);
    const envelopeBytes = byParts ? 0 : proposal.envelopeBytes;
    if (!this.#messenger.append(session, ACCEPT_BYTES + alignUp(keyBytes), envelopeBytes)) return false;
    if (proposal === operation.own) operation.sent = operation.slot;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    const flags = (proposal.isTombstone ? FLAG_TOMBSTONE : 0) | (byParts ? FLAG_PARTS : 0);
    writeHead(words, word, MESSAGE_ACCEPT, flags, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = proposal.envelopeBytes;
    writeU53(words, word + WORD_ACCEPT_SLOT, operation.slot);
    this.#writeBallot(words, word + WORD_ACCEPT_BALLOT, operation);
    // Id, counter, writer, rmw: as they lie in the proposal.
    copyWords(words, word + WORD_ACCEPT_ID, proposal.words, PROPOSAL_ID, 9);
    words[word + WORD_ACCEPT_RMW + 1] = 0;
    copyWords(words, word + WORD_ACCEPT_TAG, proposal.words, PROPOSAL_TAG, 4);
    table.copyKey(slot, words, word + WORD_ACCEPT_KEY);
    if (envelopeBytes > 0) {
      copyPadded(out.packet.words, out.valueWord, proposal.region!.words, proposal.word, envelopeBytes);
    }
    return true;
  }

  commit(session: Session<Peer>, slot: number): boolean {
    const operation = this.#operations.of(slot);
    return operation.isDecided
      ? this.#commitDecision(session, slot, operation)
      : this.#commitEarlier(session, slot, operation);
  }

  /** What the slot has decided. */
  #commitDecision(session: Session<Peer>, slot: number, operation: RmwOperation): boolean {
    const { current } = operation;
    const byParts = !this.fits(session, slot, current.envelopeBytes);
    const envelopeBytes = byParts ? 0 : current.envelopeBytes;
    const flags = current.isTombstone ? FLAG_TOMBSTONE : byParts ? FLAG_PARTS : FLAG_VALUE;
    const words = this.#beginCommit(session, slot, flags, operation.slot, envelopeBytes, current.words, PROPOSAL_ID);
    if (words === undefined) return false;
    const { out } = this.#messenger;
    const { word } = out;
    copyWords(words, word + WORD_COMMIT_COUNTER, current.words, PROPOSAL_COUNTER, 5);
    copyWords(words, word + WORD_COMMIT_TAG, current.words, PROPOSAL_TAG, 4);
    if (byParts) words[word + WORD_ENVELOPE_BYTES] = current.envelopeBytes;
    if (envelopeBytes > 0) {
      copyPadded(out.packet.words, out.valueWord, current.region!.words, current.word, envelopeBytes);
    }
    return true;
  }

  /**
   * What the slots before have led to: the greatest stamp seen, with its value when that is here. At least one of those who
   * promised had decided the slot before, so the stamp is at least the one that it created.
   */
  #commitEarlier(session: Session<Peer>, slot: number, operation: RmwOperation): boolean {
    const table = this.#table;
    const isTombstone = table.tombstone[slot] === 1;
    const hasValue = !isTombstone && table.hasEnvelope(slot) && this.fits(session, slot, table.envelopeBytes[slot]!);
    const flags = isTombstone ? FLAG_TOMBSTONE : hasValue ? FLAG_VALUE : 0;
    const envelopeBytes = hasValue ? table.envelopeBytes[slot]! : 0;
    const words = this.#beginCommit(session, slot, flags, operation.slot - 1, envelopeBytes, operation.lastId, 0);
    if (words === undefined) return false;
    const { out } = this.#messenger;
    const { word } = out;
    writeU53(words, word + WORD_COMMIT_COUNTER, table.counter[slot]!);
    words[word + WORD_COMMIT_WRITER] = table.writerLow[slot]!;
    words[word + WORD_COMMIT_WRITER + 1] = table.writerHigh[slot]!;
    words[word + WORD_COMMIT_RMW] = table.rmw[slot]!;
    if (isTombstone) words.fill(0, word + WORD_COMMIT_TAG, word + WORD_COMMIT_TAG + 4);
    else copyWords(words, word + WORD_COMMIT_TAG, table.tags, table.tagWord(slot), 4);
    if (hasValue) {
      const source = table.envelopeRegion[slot]!.words;
      copyPadded(out.packet.words, out.valueWord, source, table.envelopeWord[slot]!, envelopeBytes);
    }
    return true;
  }

  /** All but stamp, tag and value. The ring names the slot's decision, when its id is known. */
  #beginCommit(
    session: Session<Peer>,
    slot: number,
    flags: number,
    decidedSlot: number,
    envelopeBytes: number,
    idWords: Int32Array,
    idWord: number,
  ): Int32Array | undefined {
    const table = this.#table;
    const keyBytes = table.keyBytes[slot]!;
    const isIdKnown = decidedSlot > 0 && (idWords[idWord + 2] !== 0 || idWords[idWord + 3] !== 0);
    const keyedBytes = COMMIT_BYTES + alignUp(keyBytes);
    const controlBytes = keyedBytes + (isIdKnown ? RING_ENTRY_BYTES : 0);
    if (!this.#messenger.append(session, controlBytes, envelopeBytes)) return undefined;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, MESSAGE_COMMIT, flags, slot, table.generation[slot]!);
    words[word + WORD_KEY_BYTES] = keyBytes;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    writeU53(words, word + WORD_COMMIT_SLOT, decidedSlot);
    words[word + WORD_COMMIT_RING_COUNT] = isIdKnown ? 1 : 0;
    table.copyKey(slot, words, word + WORD_COMMIT_KEY);
    if (isIdKnown) {
      const ringWord = word + (keyedBytes >> 2);
      writeU53(words, ringWord, decidedSlot);
      copyWords(words, ringWord + 2, idWords, idWord, 4);
    }
    return words;
  }

  #writeBallot(words: Int32Array, word: number, { ballot }: RmwOperation): void {
    writeU53(words, word, ballot);
    words[word + 2] = this.#writer.writerLow;
    words[word + 3] = this.#writer.writerHigh;
  }
}
