/** A replica's side of calls and answers that are larger than a datagram, and what hostile clients make of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Session } from '../../net/session.ts';
import { IDLE_MS_MAX, ROOM } from '../../src/coordinated/call-parts-memory.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { Message } from '../protocol/fixtures.ts';
import { callOf, readReply } from './call-fixtures.ts';
import type { CallParts } from './call-fixtures.ts';
import { partsOfCall, pullOf, readAnswer, readProgress, readReplyPart } from './call-part-fixtures.ts';
import { ServerHarness, client } from './call-server-harness.ts';

const VALUE = 'a value that is larger than a datagram '.repeat(10);
const PUT: CallParts = { kind: 'put', key: 'key', value: VALUE, slot: 2, generation: 5 };
const PART_BYTES = 64;
const COUNT = Math.ceil((8 + 392) / PART_BYTES);

function opened(trustedBytes?: number): { harness: ServerHarness; session: Session<Peer>; put: CallParts } {
  const harness = new ServerHarness(16, trustedBytes);
  const session = client();
  return { harness, session, put: { ...PUT, stream: harness.open(session) } };
}

const started = ({ coordinator }: ServerHarness): string[] => coordinator.started.map(({ value }) => value);

test('should begin a call when all of its parts have come, in whatever order, and not before', () => {
  const { harness, session, put } = opened();
  const parts = partsOfCall(put, PART_BYTES);
  assert.equal(parts.length, COUNT);
  assert.deepEqual(harness.say(session, parts[3]!, parts[0]!, parts[3]!), []);
  assert.deepEqual(harness.turn(1).map(readProgress), [[0, 3]], 'told once a turn');
  assert.deepEqual(harness.turn(1), [], 'and only when something has come');
  harness.say(session, ...[6, 5, 4, 2].map((part) => parts[part]!));
  assert.deepEqual(started(harness), []);
  assert.deepEqual(harness.say(session, parts[1]!).map(readProgress), [[0, 1, 2, 3, 4, 5, 6]], 'at once when whole');
  assert.deepEqual(started(harness), [VALUE]);
  assert.equal(harness.server.partsMemory.blockCount, 0, 'it needs no memory any more');
});

test('should answer a part of a call that was run as a call that is repeated', () => {
  const { harness, session, put } = opened();
  const parts = partsOfCall({ ...put, attempt: 1 }, PART_BYTES);
  harness.say(session, ...parts);
  assert.deepEqual(harness.say(session, parts[2]!), [], 'it runs');
  assert.equal(harness.end(harness.coordinator.started[0]!, 'ok')[0]!.outcome, 'ok');
  const again = harness.say(session, ...parts).map(readReply);
  assert.ok(again.every(({ outcome, generation }) => outcome === 'ok' && generation === 5));
  assert.equal(harness.server.partsMemory.blockCount, 0);
  assert.equal(harness.coordinator.started.length, 1);
});

test('should take nothing of one call for another: lengths change, generations grow', () => {
  const { harness, session, put } = opened();
  const parts = partsOfCall(put, PART_BYTES);
  const longer = partsOfCall({ ...put, value: `${VALUE}!` }, PART_BYTES);
  const coarser = partsOfCall({ ...put, value: 'other '.repeat(65) }, 2 * PART_BYTES);
  harness.say(session, ...parts.slice(0, -1));
  harness.say(session, ...longer.slice(1));
  assert.deepEqual(started(harness), [], 'two totals under one generation are not put together');
  harness.say(session, ...coarser.slice(1), parts.at(-1)!, ...coarser.slice(0, 1));
  assert.deepEqual(started(harness), [], 'nor are two lengths of parts');
  harness.say(session, ...coarser);
  assert.deepEqual(started(harness), ['other '.repeat(65)]);
  const later = partsOfCall({ ...put, generation: 7, value: 'later '.repeat(65) }, PART_BYTES);
  harness.say(session, ...later.slice(1));
  harness.say(session, ...partsOfCall({ ...put, generation: 6 }, PART_BYTES));
  assert.equal(harness.drops.of('late-call'), COUNT, 'a call that was followed by another is not put together');
  harness.say(session, later[0]!);
  assert.deepEqual(started(harness).slice(1), ['later '.repeat(65)]);
  assert.equal(harness.coordinator.cancelled.length, 1, 'nobody waited for the one before');
  harness.say(session, ...partsOfCall({ ...put, generation: 8 }, PART_BYTES).slice(1));
  harness.call(session, { ...put, generation: 9, value: 'small' });
  assert.equal(harness.server.partsMemory.blockCount, 0, 'a whole call ends what was there of one before');
});

test('should begin no call whose key is not padded', () => {
  const { harness, session, put } = opened();
  const parts = partsOfCall(put, PART_BYTES);
  parts[0]!.control[9]! |= 1 << 31;
  assert.deepEqual(harness.say(session, ...parts).map(readProgress).length, 1);
  assert.equal(harness.drops.of('malformed'), 1);
  assert.deepEqual(started(harness), []);
});

test('should refuse who may not at the part that says so, and hold no memory for it', () => {
  const { harness, session, put } = opened();
  const refused = (said: Message[]): boolean => said.length === 1 && readReply(said[0]!).outcome === 'not-permitted';
  const reader = client(2, 'r:');
  const readersParts = partsOfCall({ ...put, stream: harness.open(reader) }, PART_BYTES);
  assert.ok(refused(harness.say(reader, readersParts[3]!)), 'who may write no key: whichever part comes first');
  assert.equal(harness.server.partsMemory.blockCount, 0);
  const writer = client(3, 'w:other/');
  const writersParts = partsOfCall({ ...put, stream: harness.open(writer) }, PART_BYTES);
  assert.deepEqual(harness.say(writer, writersParts[3]!), [], 'it may be of another key');
  assert.equal(harness.server.partsMemory.blockCount, 1);
  assert.ok(refused(harness.say(writer, writersParts[0]!)), 'the first part has the key');
  assert.equal(harness.server.partsMemory.blockCount, 0, 'what came before is given back');
  assert.ok(refused(harness.say(writer, writersParts[1]!)), 'and nothing is taken after that');
  assert.equal(harness.server.partsMemory.blockCount, 0);
  harness.say(session, ...partsOfCall(put, PART_BYTES));
  assert.deepEqual(started(harness), [VALUE]);
});

test('should refuse who may not when the call is whole, though no part had the key', () => {
  const { harness, put } = opened();
  const writer = client(3, 'w:other/');
  const cut = partsOfCall({ ...put, key: 'a key of more than a part', stream: harness.open(writer) }, 8);
  const said = harness.say(writer, ...cut);
  assert.equal(readReply(said.at(-1)!).outcome, 'not-permitted');
  assert.deepEqual(started(harness), []);
  assert.equal(harness.server.partsMemory.blockCount, 0);
});

test('should tell who has no stream of that number, and drop what is in no slot of it', () => {
  const { harness, session, put } = opened();
  const [part] = partsOfCall({ ...put, stream: 99 }, PART_BYTES);
  assert.equal(readReply(harness.say(session, part!)[0]!).outcome, 'stream-unknown');
  harness.say(session, partsOfCall({ ...put, slot: 4 }, PART_BYTES)[0]!);
  harness.say(session, pullOf({ stream: put.stream!, answer: 1, offset: 0, bytes: 8, slot: 4 }));
  assert.equal(harness.drops.of('malformed'), 2);
});

/** The first part of a put of so many bytes. */
function begin(
  harness: ServerHarness,
  session: Session<Peer>,
  stream: number,
  slot: number,
  byteCount: number,
): string {
  const value = 'x'.repeat(byteCount);
  const part = partsOfCall({ kind: 'put', key: 'key', value, slot, generation: harness.nowMs, stream }, 1_024)[0]!;
  const [said] = harness.say(session, part);
  return said === undefined ? 'taken' : readReply(said).outcome;
}

test('should keep to its memory: a client has a share, all together the room, and who does not go on loses it', () => {
  const harness = new ServerHarness();
  const sessions = [1, 2, 3, 4, 5].map((writer) => client(writer));
  const streams = sessions.map((session) => harness.open(session, 1_000));
  const perClient = Math.floor(ROOM.bytes / 3 / 600_000);
  for (let i = 0; i < perClient; i++) assert.equal(begin(harness, sessions[0]!, streams[0]!, i, 590_000), 'taken');
  assert.equal(begin(harness, sessions[0]!, streams[0]!, 900, 590_000), 'busy', 'no more than its share');
  assert.equal(begin(harness, sessions[1]!, streams[1]!, 0, 590_000), 'taken', 'others have room');
  for (let i = 1; i < perClient; i++) begin(harness, sessions[1]!, streams[1]!, i, 590_000);
  for (let i = 0; i < perClient; i++) begin(harness, sessions[2]!, streams[2]!, i, 590_000);
  while (begin(harness, sessions[3]!, streams[3]!, harness.server.partsMemory.blockCount, 400_000) === 'taken');
  assert.equal(begin(harness, sessions[4]!, streams[4]!, 0, 400_000), 'busy');
  assert.ok(harness.budget.used <= ROOM.bytes + ROOM.blockCountMax * 1_024 + harness.server.table.bytes);
  const { blockCount } = harness.server.partsMemory;
  harness.turn(500);
  assert.equal(begin(harness, sessions[4]!, streams[4]!, 0, 400_000), 'taken', 'nobody has gone on with theirs');
  assert.equal(harness.server.partsMemory.blockCount, blockCount);
  harness.turn(IDLE_MS_MAX + 1);
  assert.equal(harness.server.partsMemory.blockCount, 0, 'and then they are given up');
  assert.equal(harness.coordinator.started.length, 0);
});

test('should keep to its number of calls, however small they are', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session, 4_096);
  let takenCount = 0;
  while (begin(harness, session, stream, takenCount, 2_000) === 'taken') takenCount++;
  assert.equal(takenCount, Math.ceil(ROOM.blockCountMax / 3));
});

test('should refuse what the trusted budget has no room for, and begin nothing', () => {
  const { harness, session, put } = opened(200_000);
  const said = harness.say(session, partsOfCall(put, PART_BYTES)[0]!).map(readReply);
  assert.deepEqual([said[0]!.outcome, said[0]!.generation], ['trusted-memory-full', 5]);
  assert.deepEqual(
    harness.say(session, ...partsOfCall(put, PART_BYTES)).map(readReply)[0]!.outcome,
    'trusted-memory-full',
  );
  assert.deepEqual(started(harness), []);
});

/** A get whose answer does not fit into a datagram; the number that it is kept under. */
function getByParts(
  harness: ServerHarness,
  session: Session<Peer>,
  stream: number,
  generation = 1,
  value = VALUE,
): number {
  harness.call(session, { kind: 'get', key: 'key', slot: 0, generation, stream });
  harness.messenger.bytesMax = 200;
  harness.coordinator.end(harness.coordinator.started.at(-1)!, 'ok', value);
  const [reply] = harness.messenger.take();
  return readAnswer(reply!);
}

test('should keep an answer that does not fit until it is pulled, and give its parts to its client only', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  const answer = getByParts(harness, session, stream);
  assert.ok(answer > 0);
  const pull = (offset: number, bytes: number, number = answer, from = session, of = stream) =>
    harness.say(from, pullOf({ stream: of, answer: number, offset, bytes })).map(readReplyPart);
  assert.deepEqual(pull(0, 96), [VALUE.slice(0, 96)]);
  assert.deepEqual(pull(384, 6), [VALUE.slice(384, 390)]);
  assert.deepEqual(pull(384, 7), [undefined], 'there is no such part');
  assert.deepEqual(pull(0, 8, answer + 1), [undefined], 'another number');
  const other = client(2);
  const otherStream = harness.open(other);
  assert.deepEqual(pull(0, 8, answer, other, otherStream), [undefined], 'another client');
  assert.deepEqual(pull(0, 8, answer, other, stream), [undefined]);
  assert.deepEqual(pull(0, 1_000_000), [undefined]);
  assert.deepEqual(pull(0, 0), [], 'it has all');
  assert.equal(harness.server.partsMemory.blockCount, 0);
  assert.deepEqual(pull(0, 8), [undefined]);
});

test('should tell of a kept answer again, and let no value pass for another when it is gone', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session);
  const get: CallParts = { kind: 'get', key: 'key', slot: 0, generation: 1, stream };
  const answer = getByParts(harness, session, stream);
  const again = harness.say(session, ...[1, 2].map((attempt) => callOf({ ...get, attempt })));
  assert.deepEqual(again.map(readAnswer), [answer, answer]);
  assert.equal(harness.coordinator.started.length, 1, 'it was not run again');
  harness.turn(IDLE_MS_MAX + 1);
  // A copy of the call runs it again, and finds another value under the same generation.
  const second = getByParts(harness, session, stream, 1, VALUE.toUpperCase());
  assert.notEqual(second, answer);
  const pull = (number: number) =>
    harness.say(session, pullOf({ stream, answer: number, offset: 8, bytes: 8 })).map(readReplyPart);
  assert.deepEqual([...pull(answer), ...pull(second)], [undefined, VALUE.toUpperCase().slice(8, 16)]);
  harness.messenger.bytesMax = 60_000;
  harness.call(session, { ...get, generation: 2 });
  assert.equal(harness.server.partsMemory.blockCount, 0, 'the next call in the slot ends it');
});

test('should say that it is busy when there is no room to keep an answer: a get may be called again', () => {
  const harness = new ServerHarness();
  const session = client();
  const stream = harness.open(session, 8);
  let slot = 1;
  while (begin(harness, session, stream, slot, 590_000) === 'taken') slot++;
  harness.call(session, { kind: 'get', key: 'k', slot: 0, stream });
  harness.messenger.bytesMax = 200;
  const [get] = harness.coordinator.started;
  assert.equal(harness.end(get!, 'ok', 'x'.repeat(590_000))[0]!.outcome, 'busy');
  harness.turn(600);
  harness.messenger.bytesMax = 60_000;
  harness.call(session, { kind: 'get', key: 'k', slot: 0, generation: 2, stream });
  harness.messenger.bytesMax = 200;
  harness.coordinator.end(harness.coordinator.started[1]!, 'ok', 'x'.repeat(590_000));
  assert.ok(readAnswer(harness.messenger.take()[0]!) > 0);
});
