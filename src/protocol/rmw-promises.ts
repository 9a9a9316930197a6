import { copyWords, readU53 } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import { compareStamps } from '../stamp.ts';
import { FLAG_PARTS, FLAG_TOMBSTONE, FLAG_VALUE, flagsOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER } from './operation-table.ts';
import type { Peer } from './peer.ts';
import { hasMember } from './quorum.ts';
import { compareBallots } from './rmw-acceptor.ts';
import {
  FLAG_ACCEPTED,
  RING_ENTRY_WORDS,
  WORD_ACCEPTED_BALLOT,
  WORD_ACCEPTED_ENVELOPE_BYTES,
  WORD_ACCEPTED_ID,
  WORD_ACCEPTED_TAG,
  WORD_ACCEPTED_TOMBSTONE,
  WORD_COMMITTED_RING,
  WORD_COMMITTED_RING_COUNT,
  WORD_PROMISE_LAST_ID,
  WORD_REGISTER_COUNTER,
  WORD_REGISTER_ENVELOPE_BYTES,
  WORD_REGISTER_RMW,
  WORD_REGISTER_SLOT,
  WORD_REGISTER_TAG,
  WORD_REGISTER_WRITER,
} from './rmw-messages.ts';
import type { RmwOperation } from './rmw-operation.ts';

/** What a coordinator makes of PROMISEs: who promised which slot, the greatest stamp seen, the proposal to be helped. */

/** Forgets what was gathered. */
export function clearPromises(table: OperationTable, slot: number, operation: RmwOperation): void {
  table.counter[slot] = 0;
  table.writerHigh[slot] = 0;
  table.writerLow[slot] = 0;
  table.rmw[slot] = 0;
  table.tombstone[slot] = 1;
  table.holders[slot] = 0;
  table.bad[slot] = 0;
  table.lacking[slot] = 0;
  table.partsMember[slot] = NO_MEMBER;
  table.dropEnvelope(slot);
  operation.promised = 0;
  operation.behind = 0;
  operation.nacked = 0;
  operation.cannotShow = 0;
  clearSlot(table, operation);
}

function clearSlot(table: OperationTable, operation: RmwOperation): void {
  operation.hasAccepted = false;
  operation.hasAcceptedValue = false;
  operation.accepted.clear(table.memory);
  operation.lastId.fill(0);
}

/** Takes in a PROMISE. It is for the slot asked, or for a later one. */
export function gatherPromise(
  table: OperationTable,
  slot: number,
  operation: RmwOperation,
  member: number,
  incoming: Incoming<Peer>,
  word: number,
  valueWord: number,
): void {
  const { words } = incoming.region;
  gatherRegister(table, slot, member, incoming, word, valueWord);
  const promisedSlot = readU53(words, word + WORD_REGISTER_SLOT);
  if (promisedSlot < operation.slot) {
    operation.behind |= 1 << member;
    return;
  }
  if (promisedSlot > operation.slot) {
    // Who promised an earlier slot has not decided what this one has. What was accepted there is of no account here.
    operation.slot = promisedSlot;
    operation.behind |= operation.promised;
    operation.promised = 0;
    operation.badAccepted = 0;
    clearSlot(table, operation);
  }
  const showsAccepted = (flagsOf(words, word) & FLAG_ACCEPTED) !== 0;
  // As if it had not answered: what was decided, a quorum of the others shows as well.
  if (showsAccepted && hasMember(operation.badAccepted, member)) return;
  operation.promised |= 1 << member;
  if (words[word + WORD_PROMISE_LAST_ID + 2] !== 0 || words[word + WORD_PROMISE_LAST_ID + 3] !== 0) {
    copyWords(operation.lastId, 0, words, word + WORD_PROMISE_LAST_ID, 4);
  }
  if (showsAccepted) gatherAccepted(operation, member, incoming, word, valueWord);
}

/** Stamp and value of the register. Order of the stamp and the greatest one seen before. */
export function gatherRegister(
  table: OperationTable,
  slot: number,
  member: number,
  incoming: Incoming<Peer>,
  word: number,
  valueWord: number,
): number {
  const { words } = incoming.region;
  const flags = flagsOf(words, word);
  const counter = readU53(words, word + WORD_REGISTER_COUNTER);
  const writerHigh = words[word + WORD_REGISTER_WRITER + 1]!;
  const writerLow = words[word + WORD_REGISTER_WRITER]!;
  const rmw = words[word + WORD_REGISTER_RMW]!;
  const order = compareStamps(
    counter,
    writerHigh,
    writerLow,
    rmw,
    table.counter[slot]!,
    table.writerHigh[slot]!,
    table.writerLow[slot]!,
    table.rmw[slot]!,
  );
  if (order < 0) return order;
  const tagWord = word + WORD_REGISTER_TAG;
  if (order > 0) {
    table.counter[slot] = counter;
    table.writerHigh[slot] = writerHigh;
    table.writerLow[slot] = writerLow;
    table.rmw[slot] = rmw;
    table.tombstone[slot] = (flags & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    table.holders[slot] = 0;
    table.bad[slot] = 0;
    table.lacking[slot] = 0;
    table.partsMember[slot] = NO_MEMBER;
    table.dropEnvelope(slot);
    table.setTag(slot, words, tagWord);
  }
  table.holders[slot]! |= 1 << member;
  if (table.tombstone[slot] === 1 || table.hasEnvelope(slot) || !table.tagEquals(slot, words, tagWord)) return order;
  if ((flags & FLAG_ACCEPTED) === 0 && (flags & FLAG_PARTS) !== 0) {
    table.partsMember[slot] = member;
    table.envelopeBytes[slot] = words[word + WORD_REGISTER_ENVELOPE_BYTES]!;
  }
  if ((flags & FLAG_VALUE) === 0) return order;
  const envelopeBytes = words[word + WORD_REGISTER_ENVELOPE_BYTES]!;
  table.keepEnvelope(slot, incoming.region, valueWord, envelopeBytes, words, tagWord);
  table.valueMember[slot] = member;
  return order;
}

/** The one of the highest ballot counts. Copies of its value are as good from any ballot: an id is one proposal in a slot. */
function gatherAccepted(
  operation: RmwOperation,
  member: number,
  incoming: Incoming<Peer>,
  word: number,
  valueWord: number,
): void {
  const { words } = incoming.region;
  const { accepted } = operation;
  const idWord = word + WORD_ACCEPTED_ID;
  const tagWord = word + WORD_ACCEPTED_TAG;
  const isSame = operation.hasAccepted && accepted.hasIdOf(words, idWord) && accepted.hasTag(words, tagWord);
  const isHigher =
    !operation.hasAccepted || compareBallots(words, word + WORD_ACCEPTED_BALLOT, operation.acceptedBallot, 0) > 0;
  if (!isHigher && !isSame) return;
  if (isHigher) copyWords(operation.acceptedBallot, 0, words, word + WORD_ACCEPTED_BALLOT, 4);
  if (isSame && operation.hasAcceptedValue) return;
  operation.hasAccepted = true;
  // Id, counter, writer, rmw: as they lie in the message.
  copyWords(accepted.words, 0, words, idWord, 9);
  accepted.setTag(words, tagWord);
  accepted.isTombstone = words[word + WORD_ACCEPTED_TOMBSTONE] === 1;
  accepted.envelopeBytes = words[word + WORD_ACCEPTED_ENVELOPE_BYTES]!;
  accepted.region = incoming.region;
  accepted.word = valueWord;
  operation.acceptedMember = member;
  operation.hasAcceptedValue = accepted.isTombstone || (flagsOf(words, word) & FLAG_PARTS) === 0;
}

/** What the ring of a COMMITTED says of a slot: decided by this id, by another, or nothing. */
export function ringVerdict(
  words: Int32Array,
  word: number,
  slot: number,
  idWords: Int32Array,
): 'own' | 'other' | 'unknown' {
  for (let i = 0; i < words[word + WORD_COMMITTED_RING_COUNT]!; i++) {
    const entryWord = word + WORD_COMMITTED_RING + i * RING_ENTRY_WORDS;
    if (readU53(words, entryWord) !== slot) continue;
    for (let j = 0; j < 4; j++) if (words[entryWord + 2 + j] !== idWords[j]) return 'other';
    return 'own';
  }
  return 'unknown';
}
