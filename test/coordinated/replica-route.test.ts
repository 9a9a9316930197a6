/** A replica that coordinates, whole but for sockets: it is its own quorum here, so all goes through memory. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientNode } from '../../src/client/client-node.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import { ReplicaNode } from '../../src/server/replica-node.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { randomBytes } from '../../workers/sodium.ts';
import { REPLICA_PORT, authorityOf, replicaHost } from '../cluster/simulated-trust.ts';
import { MemoryNetwork } from '../net/memory-transport.ts';
import { bytesOf } from '../protocol/fixtures.ts';

const AMPLE_BYTES = 64 * 1024 * 1024;
/** The message layer takes 6.6 MiB of it, and what is left is too little to hold clients' values as well. */
const SCARCE_BYTES = 9 * 1024 * 1024;

class World implements OperationSink {
  readonly network = new MemoryNetwork();
  readonly replica: ReplicaNode;
  readonly client: ClientNode;
  readonly ended: (readonly [Outcome, string])[] = [];
  nowMs = 1_000;

  constructor(trustedBytesMax: number) {
    const authority = authorityOf('secure', 1, 0);
    const sealing = createInlineSealing({ mode: 'secure', dataKeys: authority.dataKeys });
    const transport = this.network.open(replicaHost(0), REPLICA_PORT, 10_000_000);
    this.replica = new ReplicaNode({
      authority,
      memberIndex: 0,
      hosts: [replicaHost(0)],
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode: 'secure', staticKeyPair: authority.staticKeyPair, sealing }),
      datagramBytes: 1_200,
      trustedBytesMax,
      hostBytesMax: AMPLE_BYTES,
      randomBytes,
      nowSeconds: () => 0,
      onStateChange() {},
      processFigures: () => ({}),
    });
    transport.start(this.replica);
    this.client = this.#openClient();
  }

  #openClient(): ClientNode {
    const authority = authorityOf('secure', 1, 'client');
    const sealing = createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.empty() });
    const transport = this.network.open('10.1.0.1', 9_000, 10_000_000);
    const client = new ClientNode({
      route: 'coordinated',
      authority,
      hosts: [replicaHost(0)],
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode: 'secure', staticKeyPair: authority.staticKeyPair, sealing }),
      datagramBytes: 1_200,
      capacity: 64,
      sink: this,
      pinnedInstance: undefined,
      randomBytes,
      nowSeconds: () => 0,
      onTick() {},
      onStatus() {},
    });
    transport.start(client);
    return client;
  }

  onOperationEnded(_token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.ended.push([outcome, Buffer.from(value.subarray(0, valueBytes)).toString()]);
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 0.5;
      this.network.deliver(this.nowMs);
      this.replica.turn(this.nowMs);
      this.client.turn(this.nowMs);
    }
    this.replica.invariants();
    this.client.invariants();
  }

  /** Puts a value, reads it, deletes it and reads again. */
  roundTrip(value: string): void {
    const { core } = this.client;
    const key = bytesOf('key');
    const steps = [
      () => core.startPut(0, key, bytesOf(value), 1_000, this.nowMs),
      () => core.startGet(1, key, 1_000, this.nowMs),
      () => core.startDelete(2, key, 1_000, this.nowMs),
      () => core.startGet(3, key, 1_000, this.nowMs),
    ];
    for (const step of steps) {
      assert.ok(step() >= 0);
      this.run(5);
    }
  }
}

test('should carry out what it is called for, in memory where it asks itself', () => {
  const world = new World(AMPLE_BYTES);
  world.run(1_000);
  assert.equal(world.client.readyMask, 1);
  // As large as a call can be: its WRITE is larger than a datagram, so it goes by parts even here.
  const largest = 'x'.repeat(world.client.valueBytesMax(3));
  for (const value of ['', 'a value', largest]) {
    world.ended.length = 0;
    world.roundTrip(value);
    assert.deepEqual(world.ended, [
      ['ok', ''],
      ['ok', value],
      ['ok', ''],
      ['absent', ''],
    ]);
  }
  assert.deepEqual(world.replica.drops.nonZero(), {});
  assert.equal(world.replica.route.calls.callCount, 12);
});

test('should take trusted memory for it when the first client comes, and no client when there is too little', () => {
  for (const [bytesMax, isTaken] of [
    [AMPLE_BYTES, true],
    [SCARCE_BYTES, false],
  ] as const) {
    const world = new World(bytesMax);
    const before = world.replica.store.stats().trustedBytes;
    world.run(1_000);
    assert.equal(world.client.readyMask, isTaken ? 1 : 0);
    assert.equal(world.replica.store.stats().trustedBytes > before, isTaken);
  }
});
