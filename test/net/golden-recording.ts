/**
 * One of each datagram and message, made by the product's own code from fixed keys, numbers and randomness: the packets
 * of test/net/golden/. Whoever writes another client can check it against them.
 */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import type { Incoming } from '../../net/inbox.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { Session } from '../../net/session.ts';
import { TICK_INTERVAL_MS } from '../../net/limits.ts';
import { KIND_COOKIE, KIND_DATA, KIND_HINT, KIND_REQUEST, KIND_RESPONSE } from '../../net/wire.ts';
import { requestPayload, responsePayload } from '../../src/protocol/handshake-payload.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_REPAIR,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  grantOf,
  partCountOf,
  typeOf,
} from '../../src/protocol/messages.ts';
import { FLAG_NEXT, FLAG_REGISTER } from '../../src/protocol/rmw-messages.ts';
import { sendState } from '../../src/protocol/state-message.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { signingKeyPairOf } from '../../workers/signing.ts';
import { clientPeer, MessageRecorder, sessionWith, writeOf } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';
import { operationWith } from '../protocol/operation-fixture.ts';
import { DATA_KEY, ReplicaHarness, WRITER } from '../protocol/replica-harness.ts';
import { acceptOf, commitOf, prepareOf } from '../protocol/rmw-fixtures.ts';
import { scanOf } from '../protocol/scan-fixtures.ts';
import { seededBytes } from '../workers/random.ts';
import { bytesOf, sealValue } from '../workers/sealing-driver.ts';
import { CLUSTER_ID, keyPairOf, kindOf, TestWorld } from './endpoint-harness.ts';
import type { TestEnd, TestPeer } from './endpoint-harness.ts';
import { resolveAnswers, resolveRequests } from './golden-resolve.ts';
import { callAnswers, callMessages, callPartAnswers, callPartMessages } from './golden-calls.ts';
import type { MemoryDatagram } from './memory-transport.ts';

export const EPOCH = 1;
const KEY = bytesOf('greeting');
const VALUE = bytesOf('hello, world');
/** Stamps have counters of more than 32 bits. */
const COUNTER_CEILING = 2 ** 34;
const INCARNATIONS = [1, 2, 3].map((number) => Buffer.from(seededBytes(16, number)).toString('hex'));
export const CLUSTER_KEY = signingKeyPairOf(seededBytes(32, 20));
export const CERTIFICATE_GRANTS = 'r:,rw:orders/';
const CERTIFICATE = issueCertificate(
  {
    role: 'client',
    grants: parseGrants(CERTIFICATE_GRANTS),
    staticKey: keyPairOf('client').publicKey,
    clusterId: CLUSTER_ID,
    expirySeconds: 4_000_000_000,
  },
  CLUSTER_KEY.secretKey,
);

/** Names of what is recorded, each a datagram in hex. */
export type GoldenPackets = Record<string, string>;

export interface Golden {
  /** What goes in, in hex; draws of random bytes in their order. */
  readonly inputs: Record<string, string | readonly string[]>;
  readonly packets: GoldenPackets;
}

/** Requests that make cookies due in every mode (net/cookie-jar.ts). */
const CROWD = 16;
/**
 * The client's own comes at its next tick, and by then one more would go without a cookie: others come just before it.
 * They are of another cluster, so that the replica draws nothing for them.
 */
const STRANGERS = 4;

/** A client (a) and a replica (b) with all that they sent each other. */
export class GoldenWorld {
  readonly world = new TestWorld();
  readonly client: TestEnd;
  readonly replica: TestEnd;
  readonly draws: { readonly client: string[]; readonly replica: string[] } = { client: [], replica: [] };
  /** What each end received, taken out of its datagrams. */
  readonly received: { at: string; epoch: number; control: string; value: string }[] = [];
  readonly sent: MemoryDatagram[];
  readonly session: Session<TestPeer>;

  constructor(mode: SecurityMode) {
    const { world } = this;
    this.client = world.open('client', { mode, randomBytes: this.#draw('client', 100) });
    this.replica = world.open('replica', { mode, randomBytes: this.#draw('replica', 200) });
    for (const end of [this.client, this.replica]) {
      end.requestPayload = () => requestPayload(WRITER.writerHigh, WRITER.writerLow, CERTIFICATE);
      end.responsePayload = () => responsePayload(INCARNATIONS[0]!, EPOCH);
      end.onMessages = (incoming) => this.#take(end, incoming);
      end.endpoint.epoch = EPOCH;
    }
    const crowd = world.open('crowd', { mode, randomBytes: this.#draw('crowd', 300) });
    for (let i = 0; i < CROWD; i++) crowd.linkTo(this.replica);
    const { client, replica } = this;
    this.sent = world.record(() => {
      world.run(TICK_INTERVAL_MS - 1);
      const strangers = world.open('strangers', { mode, clusterId: seededBytes(16, 98) });
      for (let i = 0; mode !== 'plaintext' && i < STRANGERS; i++) strangers.linkTo(replica);
      const link = client.linkTo(replica);
      world.until(
        () => link.session !== undefined && replica.live.some(({ peerIndex }) => peerIndex === link.session!.index),
      );
      world.run(2);
    });
    world.ends.splice(world.ends.indexOf(crowd));
    this.session = client.live[0]!;
  }

  /** Puts messages into one datagram of a session. */
  send(end: TestEnd, session: Session<TestPeer>, messages: readonly Message[]): void {
    for (const { control, value } of messages) {
      assert.ok(end.endpoint.append(session, control.length * 4, value.length));
      const { out } = end.endpoint;
      out.control.words.set(control, out.word);
      out.packet.bytes.set(value, out.valueWord * 4);
    }
  }

  get replicaSession(): Session<TestPeer> {
    return this.replica.live.find(({ index }) => index === this.session.peerIndex)!;
  }

  #draw(name: 'client' | 'replica' | 'crowd', seed: number): (count: number) => Uint8Array {
    let drawn = 0;
    return (count) => {
      const bytes = seededBytes(count, seed + drawn++);
      if (name !== 'crowd') this.draws[name].push(Buffer.from(bytes).toString('hex'));
      return bytes;
    };
  }

  #take(end: TestEnd, incoming: Incoming<TestPeer>): void {
    const { bytes } = incoming.region;
    const hex = (word: number, wordEnd: number) => Buffer.from(bytes.slice(word * 4, wordEnd * 4)).toString('hex');
    this.received.push({
      at: end.name,
      epoch: incoming.epoch,
      control: hex(incoming.word, incoming.wordEnd),
      value: hex(incoming.valueWord, incoming.valueWordEnd),
    });
  }
}

function sealedOperation(mode: SecurityMode) {
  const sealing = createInlineSealing({
    mode,
    dataKeys: DataKeyRing.of(1, DATA_KEY),
    randomBytes: (count) => seededBytes(count, 400),
  });
  const placed = sealValue(sealing, VALUE, KEY);
  const envelope = placed.envelope.bytes.slice(0, placed.envelopeBytes);
  const stamp = { ...WRITER, counter: 2 ** 33 + 7, rmw: 0 };
  return operationWith(KEY, envelope, placed.tagWords, stamp);
}

/** READ, STAMP, WRITE (a value, a tombstone written back) and REPAIR, as a coordinator writes them. */
export function clientMessages(mode: SecurityMode): Message[] {
  const { table, slot, messenger, requests } = sealedOperation(mode);
  const session = sessionWith(clientPeer(WRITER));
  requests.read(session, slot, true);
  requests.read(session, slot, false);
  requests.stamp(session, slot);
  requests.write(session, slot, MESSAGE_WRITE, 0);
  requests.read(session, slot, true);
  requests.write(session, slot, MESSAGE_REPAIR, 0);
  table.tombstone[slot] = 1;
  table.counter[slot]! += 1;
  requests.write(session, slot, MESSAGE_WRITE, FLAG_WRITE_BACK | FLAG_TOMBSTONE);
  requests.read(session, slot, false);
  return messenger.take();
}

/** What a replica answers to them, and its STATE. */
export function replicaMessages(mode: SecurityMode): Message[] {
  const harness = new ReplicaHarness({ counterCeiling: COUNTER_CEILING });
  const answers = harness.ask(clientMessages(mode));
  const recorder = new MessageRecorder();
  const state = {
    state: 'active',
    memberIndex: 0,
    epoch: EPOCH,
    incarnation: INCARNATIONS[0]!,
    incarnations: INCARNATIONS,
    goneMask: 0,
  } as const;
  sendState(recorder, harness.session, state);
  return [...answers, ...recorder.take()];
}

/** The value is no multiple of it: the last part is shorter. */
const PART_BYTES = 8;
/** Smaller than the answer with the value: it is asked for by parts. */
const ANSWER_BYTES_MAX = 56;

/** The same value put by parts, in two datagrams, and read by parts. */
export function partRequests(mode: SecurityMode): { first: Message[]; rest: Message[] } {
  const { table, slot, messenger, requests } = sealedOperation(mode);
  const session = sessionWith(clientPeer(WRITER));
  const envelopeBytes = table.envelopeBytes[slot]!;
  const parts = Array.from({ length: partCountOf(envelopeBytes, PART_BYTES) }, (_, part) => part);
  const send = (chosen: readonly number[]) => {
    for (const part of chosen) requests.writePart(session, slot, 0, part, PART_BYTES);
    return messenger.take();
  };
  const first = send([parts.length - 1, 0]);
  const rest = send(parts.slice(1, -1));
  requests.read(session, slot, true);
  requests.readPart(session, slot, PART_BYTES, envelopeBytes - PART_BYTES);
  requests.readPart(session, slot, 0, PART_BYTES);
  requests.read(session, slot, true, grantOf(2, PART_BYTES));
  return { first, rest: [...rest, ...messenger.take()] };
}

/** What a replica answers to them: progress; the write, the value's length, its parts in the order asked for. */
export function partAnswers(mode: SecurityMode): { first: Message[]; rest: Message[] } {
  const harness = new ReplicaHarness({ counterCeiling: COUNTER_CEILING });
  harness.messenger.bytesMax = ANSWER_BYTES_MAX;
  const { first, rest } = partRequests(mode);
  const progress = harness.ask(first);
  // What is told once a turn comes behind what is answered at once: the put is to be done before it is read.
  const isPart = ({ control }: Message) => typeOf(control, 0) === MESSAGE_WRITE_PART;
  const written = harness.ask(rest.filter(isPart));
  return { first: progress, rest: [...written, ...harness.ask(rest.filter((message) => !isPart(message)))] };
}

/** Two read-modify-writes of one key: what a coordinator asks, in turn. */
export function rmwRequests(mode: SecurityMode): Message[] {
  const { table, slot } = sealedOperation(mode);
  const start = table.envelopeWord[slot]! * 4;
  const envelope = table.envelopeRegion[slot]!.bytes.slice(start, start + table.envelopeBytes[slot]!);
  const tag = table.tags.slice(table.tagWord(slot), table.tagWord(slot) + 4);
  const ballot = (number: number) => ({ number, writer: WRITER });
  const stamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 1 };
  const first = { id: { writer: WRITER, sequence: 1 }, stamp, envelope, tag };
  const second = { id: { writer: WRITER, sequence: 2 }, stamp: { ...stamp, rmw: 2 }, envelope: undefined };
  return [
    prepareOf(KEY, 1, ballot(1), FLAG_VALUE | FLAG_NEXT),
    acceptOf(KEY, 1, ballot(1), first),
    commitOf(KEY, 1, { stamp, ring: [{ slot: 1, id: first.id }], sealed: first }),
    prepareOf(KEY, 1, ballot(2)),
    prepareOf(KEY, 2, ballot(2), FLAG_VALUE, 44),
    acceptOf(KEY, 2, ballot(2), second),
    prepareOf(KEY, 2, ballot(3)),
    prepareOf(KEY, 2, ballot(3), FLAG_VALUE | FLAG_REGISTER),
    prepareOf(KEY, 2, ballot(2)),
    prepareOf(KEY, 4, ballot(3)),
    commitOf(KEY, 4, { stamp: second.stamp }),
    commitOf(KEY, 2, { stamp: second.stamp, sealed: second }),
  ];
}

export function rmwAnswers(mode: SecurityMode): Message[] {
  return new ReplicaHarness({ counterCeiling: COUNTER_CEILING }).ask(rmwRequests(mode));
}

/** Any keys, and behind the one that is there in reverse. */
export function scanRequests(): Message[] {
  return [
    scanOf({ slot: 3, generation: 1, entries: 100, wantsValues: true }),
    scanOf({ slot: 3, generation: 2, start: 'a', end: 'zz', isReverse: true, isAfter: true, entries: 1 }),
  ];
}

/** The key with its value, then a deleted key and more. */
export function scanAnswers(mode: SecurityMode): Message[] {
  const harness = new ReplicaHarness({ counterCeiling: COUNTER_CEILING });
  const tombstone = writeOf({ key: bytesOf('y'), stamp: { ...WRITER, counter: 3, rmw: 0 }, flags: FLAG_TOMBSTONE });
  harness.ask([...clientMessages(mode).slice(0, 4), tombstone]);
  return harness.ask(scanRequests());
}

export function recordGolden(mode: SecurityMode): Golden {
  const golden = new GoldenWorld(mode);
  const { world, client, replica, sent, session } = golden;
  const own = sent.filter(({ fromPort, toPort }) => [fromPort, toPort].includes(client.transport.port));
  const kinds = own.map(kindOf);
  assert.deepEqual(kinds, [KIND_REQUEST, KIND_COOKIE, KIND_REQUEST, KIND_RESPONSE, KIND_DATA, KIND_DATA]);
  const names = [
    'request',
    'cookie',
    'request with cookie',
    'response',
    'data, first of client',
    'data, first of replica',
  ];
  const packets: GoldenPackets = Object.fromEntries(names.map((name, i) => [name, hexOf(own[i]!)]));
  const data = world.record(() => {
    golden.send(client, session, clientMessages(mode));
    world.run(2);
    golden.send(replica, golden.replicaSession, replicaMessages(mode));
    world.run(2);
  });
  assert.deepEqual(data.map(kindOf), [KIND_DATA, KIND_DATA]);
  packets['data, requests'] = hexOf(data[0]!);
  packets['data, answers'] = hexOf(data[1]!);
  for (const [name, from, to, messages] of [
    ['data, parts', client, session, partRequests(mode).first],
    ['data, progress', replica, golden.replicaSession, partAnswers(mode).first],
    ['data, more parts', client, session, partRequests(mode).rest],
    ['data, answers to parts', replica, golden.replicaSession, partAnswers(mode).rest],
    ['data, read-modify-writes', client, session, rmwRequests(mode)],
    ['data, answers to read-modify-writes', replica, golden.replicaSession, rmwAnswers(mode)],
    ['data, calls', client, session, callMessages()],
    ['data, answers to calls', replica, golden.replicaSession, callAnswers()],
    ['data, scans', client, session, scanRequests()],
    ['data, answers to scans', replica, golden.replicaSession, scanAnswers(mode)],
    ['data, RESOLVE and COUNTERS', client, session, resolveRequests()],
    ['data, answers to RESOLVE and COUNTERS', replica, golden.replicaSession, resolveAnswers()],
    ['data, calls by parts', client, session, callPartMessages()],
    ['data, answers to calls by parts', replica, golden.replicaSession, callPartAnswers()],
  ] as const) {
    const datagrams = world.record(() => {
      golden.send(from, to, messages);
      world.run(2);
    });
    assert.deepEqual(datagrams.map(kindOf), [KIND_DATA]);
    packets[name] = hexOf(datagrams[0]!);
  }
  for (const [name, hint] of [
    ['hint mode', withByte(own[0]!, 2, (SECURITY_MODES.indexOf(mode) + 1) % 3)],
    ['hint version', withByte(own[0]!, 1, 0xff)],
    ['hint no-session', withByte(data[0]!, 5, 0xff)],
  ] as const) {
    const [answer] = world.record(() => {
      world.network.inject(hint);
      world.run(2);
    });
    assert.equal(kindOf(answer!), KIND_HINT);
    packets[name] = hexOf(answer!);
  }
  return { inputs: inputsOf(golden), packets };
}

function inputsOf({ draws }: GoldenWorld): Golden['inputs'] {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  return {
    'cluster id': hex(CLUSTER_ID),
    'static secret key of client': hex(keyPairOf('client').secretKey),
    'static secret key of replica': hex(keyPairOf('replica').secretKey),
    'public key of the cluster': hex(CLUSTER_KEY.publicKey),
    'certificate of client': hex(CERTIFICATE),
    'data key 1': hex(DATA_KEY),
    'key of the pair': hex(KEY),
    value: hex(VALUE),
    'salt of the writer': hex(seededBytes(16, 400)),
    'random bytes drawn by client': draws.client,
    'random bytes drawn by replica': draws.replica,
  };
}

function withByte(datagram: MemoryDatagram, at: number, byte: number): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  bytes[at] = byte;
  return { ...datagram, bytes };
}

function hexOf({ bytes }: MemoryDatagram): string {
  return Buffer.from(bytes).toString('hex');
}
