/** The parts of the simulated world do what their names say: a fault that does nothing would prove nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededBytes } from '../workers/random.ts';
import { Coverage } from './coverage.ts';
import { Dice } from './dice.ts';
import { CALM, LossyNetwork } from './lossy-network.ts';
import type { Weather } from './lossy-network.ts';
import { MESSAGE_NAMES } from './messages-seen.ts';
import type { Message } from './messages-seen.ts';
import { NonceLedger } from './nonce-ledger.ts';
import { Schedule } from './schedule.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedCluster } from './simulated-cluster.ts';
import { SimulatedTime } from './simulated-time.ts';
import { connected, formed, get, put } from './steps.ts';

const A = { host: '10.0.0.1', port: 1 };
const B = { host: '10.0.0.2', port: 1 };

/** What B gets, and when, of so many numbered datagrams that A sends, one each millisecond. */
function sent(
  count: number,
  weather: Partial<Weather>,
  prepare: (network: LossyNetwork) => void = () => {},
): { arrivals: { readonly number: number; readonly atMs: number }[]; coverage: Coverage } {
  const time = new SimulatedTime();
  const coverage = new Coverage();
  const network = new LossyNetwork(time, new Dice(7), coverage);
  network.weather = { ...CALM, ...weather };
  const arrivals: { number: number; atMs: number }[] = [];
  network.attach(B, { onArrival: (datagram) => arrivals.push({ number: datagram[0]!, atMs: time.nowMs }) });
  prepare(network);
  for (let i = 0; i < count; i++) time.after(i, () => network.send(Uint8Array.of(i), A, B));
  time.run(1_000);
  return { arrivals, coverage };
}

test('a clogged link holds everything back, and lets all of it go at one instant, in order', () => {
  const { arrivals, coverage } = sent(20, {}, (network) => network.clog(A, B, 10.5));
  const first = arrivals.slice(0, 11);
  assert.deepEqual(new Set(first.map(({ atMs }) => atMs)), new Set([10.5]));
  assert.deepEqual(
    arrivals.map(({ number }) => number),
    Array.from({ length: 20 }, (_, i) => i),
  );
  assert.equal(coverage.faults.of('clogged, then all at once'), 11);
});

test('a clog ends when it is calm, and belongs to one direction', () => {
  const calm = sent(3, {}, (network) => {
    network.clog(A, B, 500);
    network.calm();
  });
  assert.ok(calm.arrivals.every(({ atMs, number }) => atMs < number + 1));
  const other = sent(3, {}, (network) => network.clog(B, A, 500));
  assert.ok(other.arrivals.every(({ atMs, number }) => atMs < number + 1));
});

test('loss, duplication and lateness are counted as what they are', () => {
  const { arrivals, coverage } = sent(200, { loss: 0.2, duplicate: 0.2, late: 0.2, lateMsMax: 50 });
  const { faults } = coverage;
  assert.equal(arrivals.length, 200 - faults.of('lost') + faults.of('duplicated'));
  assert.ok(faults.of('lost') > 20 && faults.of('duplicated') > 20 && faults.of('late') > 20);
});

function messageOf(type: number): Message {
  return {
    type,
    flags: 0,
    slot: 0,
    generation: 0,
    key: undefined,
    counter: undefined,
    writer: undefined,
    envelopeBytes: 0,
    part: 0,
    state: undefined,
    attempt: 0,
    callOutcome: undefined,
    isParted: false,
    decision: undefined,
    word: 0,
  };
}

test('a schedule treats kinds, senders and receivers differently, and draws others each time', () => {
  const places = ['a', 'b', 'c'];
  const types = Object.keys(MESSAGE_NAMES).map(Number);
  const seen = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const schedule = Schedule.draw(new Dice(seed), places, 'strong');
    const of = (from: string, to: string, type: number): number => {
      const { loss, delayMs } = schedule.of(from, to, [messageOf(type)]);
      return loss * 100 + delayMs;
    };
    const byType = new Set(types.map((type) => of('a', 'b', type)));
    const byReceiver = new Set(places.map((to) => types.map((type) => of('a', to, type)).join()));
    const bySender = new Set(places.map((from) => types.map((type) => of(from, 'b', type)).join()));
    if (byType.size > 1) seen.add('type');
    if (byReceiver.size > 1) seen.add('receiver');
    if (bySender.size > 1) seen.add('sender');
    seen.add(types.map((type) => of('a', 'b', type)).join());
  }
  for (const name of ['type', 'receiver', 'sender']) assert.ok(seen.has(name), name);
  assert.ok(seen.size > 15, 'schedules differ');
});

test('clocks jump forwards and drift, and never go back', () => {
  const time = new SimulatedTime();
  const dice = new Dice(3);
  const clock = new SimulatedClock(time, dice);
  let lastMs = clock.nowMs;
  for (let i = 0; i < 200; i++) {
    time.run(dice.between(0, 5));
    if (i % 3 === 0) clock.drift(dice);
    assert.ok(clock.nowMs >= lastMs);
    lastMs = clock.nowMs;
    if (i % 50 !== 0) continue;
    clock.jump(1_000);
    assert.ok(clock.nowMs >= lastMs + 1_000);
    lastMs = clock.nowMs;
  }
});

test('a nonce that is used twice ends the run: a second time, in another process, after a restart', () => {
  const ledger = new NonceLedger();
  ledger.use('key', 1);
  ledger.use('key', 2);
  ledger.use('other key', 1);
  assert.throws(() => ledger.use('key', 1), /a nonce is used twice/);
});

test('every datagram and value that a cluster seals is entered in the ledger', () => {
  const cluster = formed({ seed: 1 });
  const client = connected(cluster);
  // As if somebody had sealed under this client's keys before.
  const seen: string[] = [];
  const { nonces } = cluster;
  const use = nonces.use.bind(nonces);
  nonces.use = (keyName, nonce) => {
    seen.push(keyName);
    use(keyName, nonce);
  };
  assert.equal(put(cluster, client, 'key', 'value').outcome, 'ok');
  assert.equal(get(cluster, client, 'key').readValue, 'value');
  assert.equal(seen.filter((name) => name.startsWith('value key')).length, 1);
  assert.ok(seen.filter((name) => !name.startsWith('value key')).length >= 8, 'STAMP, WRITE, READ and their answers');
});

test('a process that draws the same salt twice is caught', () => {
  const cluster = new SimulatedCluster({ seed: 1 });
  const sameDice = (): Dice => {
    const dice = new Dice(5);
    return Object.assign(dice, { bytes: (count: number) => seededBytes(count, 5) });
  };
  const seal = (): void => {
    const sealing = cluster.createSealing('writer', sameDice());
    const envelope = { bytes: new Uint8Array(64), words: new Int32Array(16) };
    const region = { bytes: new Uint8Array(envelope.words.buffer), words: envelope.words };
    sealing.submitSealValue(0, region, 0, 40, new Int32Array(4), 0, new Int32Array(2), 0, 3);
    sealing.drainValues({ onValueSealed() {}, onValueOpened() {} });
  };
  seal();
  assert.throws(seal, /a nonce is used twice/);
});
