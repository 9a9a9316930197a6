import { assert } from '../../net/assert.ts';
import { equalWords, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import {
  NO_RECORD,
  RECORD_COUNTER,
  RECORD_ENVELOPE_BYTES,
  RECORD_ID,
  RECORD_REF,
  RECORD_TAG,
} from '../store/consensus-records.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import { APPLIED } from '../store/write-result.ts';
import { WORD_ENVELOPE_BYTES, WORD_KEY_BYTES } from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import type { Reassemblies, Reassembly } from './reassemblies.ts';
import type { RmwAnswers } from './rmw-answers.ts';
import { decidedSlot, hasAccepted } from './rmw-answers.ts';
import {
  RING_ENTRY_WORDS,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_TAG,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_RING_COUNT,
  WORD_COMMIT_RMW,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_TAG,
  WORD_COMMIT_WRITER,
  commitRingWord,
} from './rmw-messages.ts';
import {
  WORD_READ_ACCEPTED_BYTES,
  WORD_READ_ACCEPTED_ID,
  WORD_READ_ACCEPTED_KEY,
  WORD_READ_ACCEPTED_OFFSET,
  WORD_READ_ACCEPTED_SLOT,
} from './rmw-part-messages.ts';

/**
 * Where a replica finds the value of an ACCEPT or COMMIT that comes without, since it is larger than a datagram: it has accepted
 * it, or the same peer has staged it (reassemblies.ts). Both lie in reserved blocks, which only change hands.
 */
export class AcceptedParts {
  readonly #store: Store;
  readonly #staged: Reassemblies;
  readonly #answers: RmwAnswers;
  readonly #drops: DropCounters;

  constructor(store: Store, staged: Reassemblies, answers: RmwAnswers, drops: DropCounters) {
    this.#store = store;
    this.#staged = staged;
    this.#answers = answers;
    this.#drops = drops;
  }

  /** What was staged for an ACCEPT. */
  findStaged(peer: Peer, words: Int32Array, word: number): Reassembly | undefined {
    return this.#staged.findStaged(
      peer,
      words,
      word + WORD_ACCEPT_ID,
      word + WORD_ACCEPT_COUNTER,
      word + WORD_ACCEPT_TAG,
      words[word + WORD_ENVELOPE_BYTES]!,
    );
  }

  /** The block of it is the caller's now, still reserved. */
  take(staged: Reassembly): number {
    return this.#staged.takeStaged(staged);
  }

  /** First word of an envelope in a reserved block: the id of its data key. */
  keyIdAt(ref: number): number {
    return this.#store.hostRegion(ref).words[this.#store.hostWord(ref)]!;
  }

  /** Whether what a COMMIT says is decided is what was accepted here: of that the value is here, too. */
  hasAccepted(record: number, words: Int32Array, word: number): boolean {
    const idWord = decidedIdWord(words, word);
    if (idWord === -1 || record === NO_RECORD || !hasAccepted(this.#store, record)) return false;
    const held = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    return (
      decidedSlot(this.#store, record) === readU53(words, word + WORD_COMMIT_SLOT) - 1 &&
      equalWords(held, at + RECORD_ID, words, idWord, 4) &&
      equalWords(held, at + RECORD_COUNTER, words, word + WORD_COMMIT_COUNTER, 5) &&
      equalWords(held, at + RECORD_TAG, words, word + WORD_COMMIT_TAG, 4) &&
      held[at + RECORD_ENVELOPE_BYTES] === words[word + WORD_ENVELOPE_BYTES]
    );
  }

  /** The value of what a COMMIT says is decided, when its coordinator has staged it. */
  findDecided(peer: Peer, words: Int32Array, word: number): Reassembly | undefined {
    const idWord = decidedIdWord(words, word);
    if (idWord === -1) return undefined;
    const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
    return this.#staged.findStaged(
      peer,
      words,
      idWord,
      word + WORD_COMMIT_COUNTER,
      word + WORD_COMMIT_TAG,
      envelopeBytes,
    );
  }

  /**
   * The register takes the block over. It has its entry, as it has a record.
   * @param staged Undefined: what was accepted is taken, and the record has it no more.
   */
  adopt(entry: number, record: number, staged: Reassembly | undefined, words: Int32Array, word: number): void {
    const held = this.#store.consensus.words(record);
    const at = this.#store.consensus.wordOffset(record);
    const ref = staged === undefined ? held[at + RECORD_REF]! : this.take(staged);
    if (staged === undefined) held[at + RECORD_REF] = NO_REF;
    const result = this.#store.adopt(
      words,
      word + WORD_COMMIT_KEY,
      words[word + WORD_KEY_BYTES]!,
      readU53(words, word + WORD_COMMIT_COUNTER),
      words[word + WORD_COMMIT_WRITER + 1]!,
      words[word + WORD_COMMIT_WRITER]!,
      words[word + WORD_COMMIT_RMW]!,
      words,
      word + WORD_COMMIT_TAG,
      ref,
      words[word + WORD_ENVELOPE_BYTES]!,
      entry,
    );
    assert(result === APPLIED, 'an entry takes over what is of its block class');
  }

  /** A READ_ACCEPTED: a part of the value that is accepted in a slot. It was said to be there in a PROMISE. */
  onReadAccepted(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
    const byteOffset = words[word + WORD_READ_ACCEPTED_OFFSET]!;
    const byteCount = words[word + WORD_READ_ACCEPTED_BYTES]!;
    if (byteOffset % 8 !== 0 || byteCount === 0) return this.#drops.count('malformed');
    const store = this.#store;
    const entry = store.find(words, word + WORD_READ_ACCEPTED_KEY, words[word + WORD_KEY_BYTES]!);
    const record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
    let ref = NO_REF;
    if (record !== NO_RECORD && hasAccepted(store, record)) {
      const held = store.consensus.words(record);
      const at = store.consensus.wordOffset(record);
      const isAsked =
        decidedSlot(store, record) === readU53(words, word + WORD_READ_ACCEPTED_SLOT) - 1 &&
        equalWords(held, at + RECORD_ID, words, word + WORD_READ_ACCEPTED_ID, 4);
      if (isAsked && byteOffset + byteCount <= held[at + RECORD_ENVELOPE_BYTES]!) ref = held[at + RECORD_REF]!;
    }
    this.#answers.acceptedPart(session, messenger, words, word, ref, byteOffset, byteCount);
  }
}

/** Where a COMMIT names the id of the decision of its slot, or -1. */
function decidedIdWord(words: Int32Array, word: number): number {
  const ringWord = commitRingWord(words, word);
  for (let i = 0; i < words[word + WORD_COMMIT_RING_COUNT]!; i++) {
    const entryWord = ringWord + i * RING_ENTRY_WORDS;
    if (equalWords(words, entryWord, words, word + WORD_COMMIT_SLOT, 2)) return entryWord + 2;
  }
  return -1;
}
