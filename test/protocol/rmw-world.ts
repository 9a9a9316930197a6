/**
 * Replicas and coordinators whose messages are delivered in an order drawn from a seed: late, twice, or never; and one replica
 * may crash. The product's own cores, with their own sealing; no datagrams. What clients were told is kept as a history.
 */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import type { Session } from '../../net/session.ts';
import { DropCounters } from '../../net/drops.ts';
import { Coordinator } from '../../src/protocol/coordinator.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { bytesOf, clientPeer, incomingOf, memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';
import type { Message } from './fixtures.ts';
import { DATA_KEY, ReplicaHarness } from './replica-harness.ts';

const EPOCH = 1;
const KEY = bytesOf('k');

export type Call =
  | { readonly kind: 'get' }
  | { readonly kind: 'put'; readonly value: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'rmw'; readonly request: RmwRequest };

/** An operation as its client saw it. */
export interface Seen {
  readonly client: number;
  readonly call: Call;
  readonly begunAt: number;
  /** Undefined: it has not ended. */
  endedAt: number | undefined;
  outcome: Outcome | undefined;
  /** Undefined: none. */
  value: string | undefined;
}

export interface RmwWorldOptions {
  readonly clientCount: number;
  readonly memberCount?: number;
  readonly random: () => number;
  readonly deadlineMs?: number;
  /** Messages and value that a datagram holds; default: more than any of them. */
  readonly datagramBytes?: number | undefined;
}

interface Client {
  readonly coordinator: Coordinator;
  readonly messenger: MessageRecorder;
  readonly sealing: ReturnType<typeof createInlineSealing>;
  readonly members: readonly Session<Peer>[];
}

interface Underway {
  /** True: from the client to the replica. */
  readonly isRequest: boolean;
  readonly client: number;
  readonly replica: number;
  readonly message: Message;
}

export class RmwWorld {
  readonly replicas: readonly ReplicaHarness[];
  readonly history: Seen[] = [];
  readonly clients: readonly Client[];
  readonly crashed = new Set<number>();
  underway: Underway[] = [];
  nowMs = 1_000;
  #step = 0;
  readonly #random: () => number;
  readonly #deadlineMs: number;
  readonly #sessions: readonly (readonly Session<Peer>[])[];

  constructor(options: RmwWorldOptions) {
    const { clientCount, memberCount = 3 } = options;
    this.#random = options.random;
    this.#deadlineMs = options.deadlineMs ?? 1e6;
    this.replicas = Array.from({ length: memberCount }, () => new ReplicaHarness());
    this.clients = Array.from({ length: clientCount }, (_, index) => this.#client(index, memberCount));
    this.#sessions = this.clients.map((_, index) =>
      this.replicas.map(() => sessionWith(clientPeer({ writerHigh: 0, writerLow: index + 1 }))),
    );
    const { datagramBytes } = options;
    if (datagramBytes === undefined) return;
    for (const { messenger } of [...this.replicas, ...this.clients]) messenger.bytesMax = datagramBytes;
  }

  #client(index: number, memberCount: number): Client {
    const messenger = new MessageRecorder();
    const sealing = createInlineSealing({
      mode: 'secure',
      dataKeys: DataKeyRing.of(1, DATA_KEY),
      randomBytes: (count) => new Uint8Array(count).fill(index + 1),
    });
    const members = Array.from({ length: memberCount }, (_, member) => sessionWith(memberPeer(member), true));
    const coordinator: Coordinator = new Coordinator({
      memberCount,
      capacity: 64,
      pullBytesMax: 2 ** 20,
      writerHigh: 0,
      writerLow: index + 1,
      memory: new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 22 }),
      messenger,
      sealing,
      drops: new DropCounters(),
      sink: {
        onOperationEnded: (token, outcome, value, valueBytes) => {
          const seen = this.history[token]!;
          assert.equal(seen.outcome, undefined, 'an operation ends once');
          seen.outcome = outcome;
          seen.endedAt = ++this.#step;
          const hasValue = coordinator.ended.hasValue;
          seen.value = hasValue ? Buffer.from(value.subarray(0, valueBytes)).toString() : undefined;
        },
      },
      readyMask: () => (1 << memberCount) - 1,
      epoch: () => EPOCH,
      session: (member) => members[member],
      onOtherMessage: () => assert.fail('replicas send answers only'),
    });
    return { coordinator, messenger, sealing, members };
  }

  begin(client: number, call: Call): void {
    const { coordinator } = this.clients[client]!;
    const seen: Seen = {
      client,
      call,
      begunAt: ++this.#step,
      endedAt: undefined,
      outcome: undefined,
      value: undefined,
    };
    const token = this.history.push(seen) - 1;
    const deadlineMs = this.#deadlineMs;
    const id =
      call.kind === 'get'
        ? coordinator.startGet(token, KEY, deadlineMs, this.nowMs)
        : call.kind === 'put'
          ? coordinator.startPut(token, KEY, bytesOf(call.value), deadlineMs, this.nowMs)
          : call.kind === 'delete'
            ? coordinator.startDelete(token, KEY, deadlineMs, this.nowMs)
            : coordinator.startRmw(token, KEY, call.request, deadlineMs, this.nowMs);
    assert.notEqual(id, -1);
    this.#settle(client);
  }

  #settle(index: number): void {
    const { coordinator, sealing, messenger, members } = this.clients[index]!;
    do coordinator.submitSeals();
    while (sealing.drainValues(coordinator) > 0);
    coordinator.pump();
    coordinator.invariants();
    for (const message of messenger.take()) {
      const replica = members.indexOf(message.session);
      if (!this.crashed.has(replica)) this.underway.push({ isRequest: true, client: index, replica, message });
    }
  }

  /** Time passes for all clients. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.clients.forEach(({ coordinator }, index) => {
      coordinator.tick(this.nowMs);
      this.#settle(index);
    });
  }

  /** The replica answers nothing any more. */
  crash(replica: number): void {
    this.crashed.add(replica);
    this.underway = this.underway.filter((one) => one.replica !== replica);
  }

  arrive({ isRequest, client, replica, message }: Underway): void {
    if (this.crashed.has(replica)) return;
    this.#step++;
    if (isRequest) {
      const harness = this.replicas[replica]!;
      const answers = harness.ask([message], this.#sessions[client]![replica], EPOCH);
      harness.settleRepairs();
      harness.store.invariants();
      for (const answer of answers) this.underway.push({ isRequest: false, client, replica, message: answer });
      return;
    }
    const { coordinator, members } = this.clients[client]!;
    coordinator.onMessages(incomingOf(members[replica]!, [message], EPOCH), this.nowMs);
    this.#settle(client);
  }

  /** One random step. */
  step(faults: { readonly lossRate: number; readonly repeatRate: number }): void {
    const random = this.#random;
    if (this.underway.length === 0 || random() < 0.02) return this.pass(1 + Math.floor(random() * 5));
    const at = Math.floor(random() * this.underway.length);
    const one = this.underway[at]!;
    const chance = random();
    if (chance >= faults.repeatRate) this.underway.splice(at, 1);
    if (chance >= faults.repeatRate && chance < faults.repeatRate + faults.lossRate) return;
    this.arrive(one);
  }

  get unfinishedCount(): number {
    return this.history.filter(({ outcome }) => outcome === undefined).length;
  }
}
