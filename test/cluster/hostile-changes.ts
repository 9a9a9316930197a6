import { alignUp, writeU53 } from '../../net/bytes.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  writeHead,
} from '../../src/protocol/messages.ts';
import {
  ACCEPTED_BYTES,
  ACCEPT_BYTES,
  BEHIND_BYTES,
  COMMITTED_BYTES,
  COMMIT_BYTES,
  COMMIT_REPLY_BYTES,
  FLAG_NEXT,
  MESSAGE_ACCEPT,
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMIT,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  MESSAGE_PROMISE,
  NACK_BYTES,
  PREPARE_BYTES,
  PROMISE_BYTES,
  RING_ENTRY_BYTES,
  RING_ENTRY_WORDS,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_RMW,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_TAG,
  WORD_ACCEPT_WRITER,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_RING_COUNT,
  WORD_COMMIT_RMW,
  WORD_COMMIT_SLOT,
  WORD_COMMIT_TAG,
  WORD_COMMIT_WRITER,
  WORD_PREPARE_BALLOT,
  WORD_PREPARE_KEY,
  WORD_PREPARE_SLOT,
  commitRingWord,
} from '../../src/protocol/rmw-messages.ts';
import type { Dice } from './dice.ts';
import { writeGarbage } from './garbage.ts';
import type { OddClient } from './odd-client.ts';
import { poisonedCounter } from './poison.ts';

/** What a client with a valid key may try with read-modify-writes, on keys that are not judged. */
const GARBAGE_BYTES = 64;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;
/** What replicas send, and its bytes. */
const ANSWERS = [
  [MESSAGE_PROMISE, PROMISE_BYTES],
  [MESSAGE_COMMITTED, COMMITTED_BYTES],
  [MESSAGE_BEHIND, BEHIND_BYTES],
  [MESSAGE_NACK, NACK_BYTES],
  [MESSAGE_ACCEPTED, ACCEPTED_BYTES],
  [MESSAGE_COMMIT_REPLY, COMMIT_REPLY_BYTES],
] as const;

export function sendHostileChange(client: OddClient, member: number, key: string): void {
  const send = client.dice.pick([sendPrepare, sendAccept, sendAccept, sendCommit, sendCommit, sendAnswer]);
  send(client, member, Buffer.from(key));
}

/** Of an own ballot or another's, in any slot, sometimes so high that nobody can go over it. */
function sendPrepare(client: OddClient, member: number, key: Buffer): void {
  const { dice } = client;
  client.send(member, PREPARE_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    words.fill(0, word, word + ((PREPARE_BYTES + alignUp(key.length)) >> 2));
    writeHead(words, word, MESSAGE_PREPARE, dice.pick([0, FLAG_VALUE, FLAG_NEXT, FLAG_NEXT | FLAG_VALUE]), 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    words[word + WORD_ENVELOPE_BYTES] = dice.pick([0, GARBAGE_BYTES, 1_000_000]);
    writeU53(words, word + WORD_PREPARE_SLOT, drawNumber(dice));
    writeBallot(client, words, word + WORD_PREPARE_BALLOT);
    control.bytes.set(key, 4 * (word + WORD_PREPARE_KEY));
  });
}

/** Of the next slot, under its own ballot of that number. */
export function sendBallot(client: OddClient, member: number, key: string, ballotNumber: number): boolean {
  const { writerLow, writerHigh } = client;
  return client.send(member, PREPARE_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_PREPARE, FLAG_NEXT, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    writeU53(words, word + WORD_PREPARE_SLOT, 1);
    writeU53(words, word + WORD_PREPARE_BALLOT, ballotNumber);
    words[word + WORD_PREPARE_BALLOT + 2] = writerLow;
    words[word + WORD_PREPARE_BALLOT + 3] = writerHigh;
    control.bytes.set(Buffer.from(key), 4 * (word + WORD_PREPARE_KEY));
  });
}

/** A value that nobody has sealed, under an id of its own or another's, and any stamp. */
function sendAccept(client: OddClient, member: number, key: Buffer): void {
  const { dice, writerLow, writerHigh } = client;
  const isTombstone = dice.chance(0.2);
  const byteCount = ACCEPT_BYTES + alignUp(key.length);
  client.send(member, byteCount, isTombstone ? 0 : GARBAGE_BYTES, ({ control, word, packet, valueWord }) => {
    const { words } = control;
    words.fill(0, word, word + (byteCount >> 2));
    writeHead(words, word, MESSAGE_ACCEPT, isTombstone ? FLAG_TOMBSTONE : 0, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    words[word + WORD_ENVELOPE_BYTES] = isTombstone ? 0 : GARBAGE_BYTES;
    writeU53(words, word + WORD_ACCEPT_SLOT, drawNumber(dice));
    writeBallot(client, words, word + WORD_ACCEPT_BALLOT);
    writeId(client, words, word + WORD_ACCEPT_ID);
    writeU53(words, word + WORD_ACCEPT_COUNTER, dice.pick([0, 1, 2, 3, poisonedCounter(client)]));
    words[word + WORD_ACCEPT_WRITER] = writerLow;
    words[word + WORD_ACCEPT_WRITER + 1] = writerHigh;
    words[word + WORD_ACCEPT_RMW] = dice.integer(0, 2);
    words[word + WORD_ACCEPT_TAG] = dice.integer(1, 3);
    control.bytes.set(key, 4 * (word + WORD_ACCEPT_KEY));
    if (!isTombstone) writeGarbage(packet.words, valueWord, dice);
  });
}

/** Of what was never decided: with a value or without, and with a ring that says anything. */
function sendCommit(client: OddClient, member: number, key: Buffer): void {
  const { dice, writerLow, writerHigh } = client;
  const ringCount = dice.integer(0, 3);
  const flags = dice.pick([0, FLAG_VALUE, FLAG_VALUE, FLAG_TOMBSTONE]);
  const byteCount = COMMIT_BYTES + alignUp(key.length) + ringCount * RING_ENTRY_BYTES;
  const envelopeBytes = flags === FLAG_VALUE ? GARBAGE_BYTES : 0;
  client.send(member, byteCount, envelopeBytes, ({ control, word, packet, valueWord }) => {
    const { words } = control;
    words.fill(0, word, word + (byteCount >> 2));
    writeHead(words, word, MESSAGE_COMMIT, flags, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    words[word + WORD_ENVELOPE_BYTES] = envelopeBytes;
    writeU53(words, word + WORD_COMMIT_SLOT, ringCount === 0 ? dice.pick([0, 1]) : drawNumber(dice));
    writeU53(words, word + WORD_COMMIT_COUNTER, dice.pick([0, 1, 2, 3, poisonedCounter(client)]));
    words[word + WORD_COMMIT_WRITER] = writerLow;
    words[word + WORD_COMMIT_WRITER + 1] = writerHigh;
    words[word + WORD_COMMIT_RMW] = dice.pick([0, 1, 2, -1]);
    words[word + WORD_COMMIT_RING_COUNT] = ringCount;
    words[word + WORD_COMMIT_TAG] = dice.integer(1, 3);
    control.bytes.set(key, 4 * (word + WORD_COMMIT_KEY));
    const ringWord = commitRingWord(words, word);
    for (let i = 0; i < ringCount; i++) {
      writeU53(words, ringWord + i * RING_ENTRY_WORDS, drawNumber(dice));
      writeId(client, words, ringWord + i * RING_ENTRY_WORDS + 2);
    }
    if (envelopeBytes > 0) writeGarbage(packet.words, valueWord, dice);
  });
}

function sendAnswer(client: OddClient, member: number): void {
  const [type, byteCount] = client.dice.pick(ANSWERS);
  client.send(member, byteCount, 0, ({ control, word }) => {
    control.words.fill(0, word, word + (byteCount >> 2));
    writeHead(control.words, word, type, FLAG_TOMBSTONE, 0, 0);
  });
}

function drawNumber(dice: Dice): number {
  return dice.pick([0, 1, 1, 2, 2, 3, 9, NUMBER_MAX]);
}

function writeBallot({ dice, writerLow, writerHigh }: OddClient, words: Int32Array, word: number): void {
  writeU53(words, word, dice.pick([0, 1, 1, 2, 3, 1_000, NUMBER_MAX]));
  words[word + 2] = writerLow + (dice.chance(0.1) ? 1 : 0);
  words[word + 3] = writerHigh;
}

function writeId({ dice, writerLow, writerHigh }: OddClient, words: Int32Array, word: number): void {
  words[word] = writerLow + (dice.chance(0.3) ? 1 : 0);
  words[word + 1] = writerHigh;
  writeU53(words, word + 2, dice.integer(0, 3));
}
