/**
 * Three replicas and a client, whole but for sockets and clocks, under load: what an operation leaves on the heap. The
 * network in memory allocates for each datagram, as node:dgram does; hundreds of operations share one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ClientNode } from '../../src/client/client-node.ts';
import { ROUTES } from '../../src/client/route.ts';
import type { Route } from '../../src/client/route.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import { PartPulls } from '../../src/protocol/part-pulls.ts';
import { CONDITION_NONE, RMW_SET } from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { ReplicaNode } from '../../src/server/replica-node.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { randomBytes } from '../../workers/sodium.ts';
import { authorityOf, REPLICA_PORT, replicaHost } from '../cluster/simulated-trust.ts';
import { MemoryNetwork } from '../net/memory-transport.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const MEMBER_COUNT = 3;
const OUTSTANDING = 1_024;
const RUNS = 17;
const OPERATIONS_PER_RUN = 6_000;
const KEY_COUNT = 1_000;
const VALUE_BYTES = 16;

/** Kept after a collection: nothing. Measured: under 1, of either sign. */
const KEPT_BYTES_MAX = 8;
/**
 * Allocated meanwhile, mostly by the network and for datagrams. Measured: 110. An operation takes ten messages on
 * average, so an object for each would add 240 and more.
 */
const ALLOCATED_BYTES_MAX = 220;

/**
 * Of a read-modify-write: four phases, some fifteen messages, and what holds its request and answer. Measured: 930.
 */
const RMW_ALLOCATED_BYTES_MAX = 1_800;

/** Measured: 0. */
const PULL_ALLOCATED_BYTES_MAX = 8;

const GET_AND_SET: RmwRequest = {
  change: RMW_SET,
  condition: CONDITION_NONE,
  value: new Uint8Array(VALUE_BYTES).fill(9),
  expected: new Uint8Array(0),
  version: undefined,
  delta: 0n,
};

class Load implements OperationSink {
  readonly client: ClientNode;
  readonly #replicas: ReplicaNode[];
  readonly #network = new MemoryNetwork();
  readonly #key = new Uint8Array(16).fill(7);
  readonly #value = new Uint8Array(VALUE_BYTES).fill(9);
  #nowMs = 1_000;
  #started = 0;
  #ended = 0;
  failed = 0;

  constructor(route: Route) {
    this.#replicas = Array.from({ length: MEMBER_COUNT }, (_, index) => this.#openReplica(index));
    const authority = authorityOf('secure', MEMBER_COUNT, 'client');
    const sealing = createInlineSealing({ mode: 'secure', dataKeys: authority.dataKeys });
    const transport = this.#network.open('10.1.0.1', 9_000, 10_000_000);
    this.client = new ClientNode({
      route,
      authority,
      hosts: authority.configuration.members.map(({ host }) => host),
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode: 'secure', staticKeyPair: authority.staticKeyPair, sealing }),
      datagramBytes: 32_768,
      capacity: OUTSTANDING,
      sink: this,
      pinnedInstance: undefined,
      randomBytes,
      nowSeconds: () => 0,
      onTick() {},
      onStatus() {},
    });
    transport.start(this.client);
    for (let passed = 0; this.client.readyMask !== 0b111; passed++) {
      assert.ok(passed < 5_000, 'the cluster forms');
      this.#step();
    }
  }

  #openReplica(index: number): ReplicaNode {
    const authority = authorityOf('secure', MEMBER_COUNT, index);
    const sealing = createInlineSealing({ mode: 'secure', dataKeys: authority.dataKeys });
    const transport = this.#network.open(replicaHost(index), REPLICA_PORT, 10_000_000);
    const replica = new ReplicaNode({
      authority,
      memberIndex: index,
      hosts: authority.configuration.members.map(({ host }) => host),
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode: 'secure', staticKeyPair: authority.staticKeyPair, sealing }),
      datagramBytes: 32_768,
      trustedBytesMax: 64 * 1024 * 1024,
      hostBytesMax: 64 * 1024 * 1024,
      randomBytes,
      nowSeconds: () => 0,
      onStateChange() {},
      processFigures: () => ({}),
    });
    transport.start(replica);
    return replica;
  }

  onOperationEnded(_token: number, outcome: Outcome): void {
    this.#ended++;
    if (outcome !== 'ok' && outcome !== 'absent') this.failed++;
  }

  /** Read-modify-writes instead, of which those of one key take turns. */
  isRmw = false;

  /** Half gets, half puts; so many are always under way. */
  run(operationCount: number): void {
    const target = this.#ended + operationCount;
    while (this.#ended < target) {
      while (this.#started - this.#ended < OUTSTANDING && this.#started < target) this.#start();
      this.#step();
    }
  }

  #start(): void {
    const number = this.#started++;
    const key = this.#key;
    key[0] = number % KEY_COUNT;
    key[1] = (number % KEY_COUNT) >> 8;
    const { core } = this.client;
    if (this.isRmw) {
      assert.notEqual(this.client.coordinator.startRmw(number, key, GET_AND_SET, 5_000, this.#nowMs), -1);
      return;
    }
    const id =
      (number & 1) === 0
        ? core.startPut(number, key, this.#value, 5_000, this.#nowMs)
        : core.startGet(number, key, 5_000, this.#nowMs);
    assert.notEqual(id, -1);
  }

  #step(): void {
    this.#nowMs += 0.2;
    this.#network.deliver(this.#nowMs);
    for (const replica of this.#replicas) replica.turn(this.#nowMs);
    this.client.turn(this.#nowMs);
  }
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

for (const route of ROUTES) {
  test(`100,000 gets and puts, ${route} route: the heap keeps nothing of them, and little is allocated`, () =>
    measure(route, false, ALLOCATED_BYTES_MAX));
}

test('100,000 read-modify-writes: the heap keeps nothing of them', () =>
  measure('direct', true, RMW_ALLOCATED_BYTES_MAX));

test('100,000 values of four parts that were granted: nothing is allocated for a part', () => {
  const pulls = new PartPulls(OUTSTANDING, 2 ** 24, { partsRepeated: 0 }, () => true);
  const run = (): void => {
    for (let i = 0; i < OPERATIONS_PER_RUN; i++) {
      const slot = i % OUTSTANDING;
      pulls.grant(slot, 3, 64);
      assert.ok(pulls.onFollowed(slot, 256));
      pulls.pump(0);
      for (let byteOffset = 0; byteOffset < 256; byteOffset += 64) pulls.onPart(slot, byteOffset, 64);
      pulls.stop(slot);
    }
  };
  run();
  const allocated: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    run();
    allocated.push((process.memoryUsage().heapUsed - before) / OPERATIONS_PER_RUN);
  }
  assert.ok(median(allocated) <= PULL_ALLOCATED_BYTES_MAX, `${median(allocated).toFixed(1)} bytes allocated a value`);
});

function measure(route: Route, isRmw: boolean, allocatedBytesMax: number): void {
  const load = new Load(route);
  load.isRmw = isRmw;
  load.run(2 * OPERATIONS_PER_RUN);
  const allocated: number[] = [];
  collectGarbage();
  const firstBytes = process.memoryUsage().heapUsed;
  for (let i = 0; i < RUNS; i++) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    load.run(OPERATIONS_PER_RUN);
    allocated.push((process.memoryUsage().heapUsed - before) / OPERATIONS_PER_RUN);
  }
  collectGarbage();
  const kept = (process.memoryUsage().heapUsed - firstBytes) / (RUNS * OPERATIONS_PER_RUN);
  assert.equal(load.failed, 0);
  assert.ok(kept <= KEPT_BYTES_MAX, `${kept.toFixed(1)} bytes kept an operation`);
  assert.ok(median(allocated) <= allocatedBytesMax, `${median(allocated).toFixed(1)} bytes allocated an operation`);
}
