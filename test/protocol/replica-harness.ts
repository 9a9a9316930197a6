/** A replica with a real store and sealing, whose answers are taken down. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { CounterGuard } from '../../src/protocol/counter-guard.ts';
import { sendCounters } from '../../src/protocol/counters-message.ts';
import { Formation } from '../../src/protocol/formation.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { Repairs } from '../../src/protocol/repairs.ts';
import { Replica } from '../../src/protocol/replica.ts';
import type { HostMemory } from '../../src/store/host-memory.ts';
import type { Store } from '../../src/store/store.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { hash } from '../../workers/signing.ts';
import { makeStore } from '../store/store-fixture.ts';
import { seededBytes } from '../workers/random.ts';
import { clientPeer, incomingOf, memberPeer, MessageRecorder, sessionWith } from './fixtures.ts';
import type { Message, SentMessage, Writer } from './fixtures.ts';

export const WRITER: Writer = { writerHigh: -5, writerLow: 77 };
export const DATA_KEY = seededBytes(32, 1);

export interface ReplicaHarnessOptions {
  /** Of 1, so that it is active at once; with more it waits for the others. */
  readonly memberCount?: number;
  readonly trustedBytes?: number;
  readonly hostBytes?: number;
  readonly segmentBytes?: number;
  readonly blockBytesMax?: number;
  readonly trustedMarginBytes?: number;
  readonly isUnordered?: boolean;
  /** The greatest counter that it takes: another replica has told it so. */
  readonly counterCeiling?: number;
  takesDataKey?(id: number): boolean;
  wrapSealing?(sealing: Sealing & KeyRegistry): Sealing & KeyRegistry;
}

export class ReplicaHarness {
  readonly drops = new DropCounters();
  readonly messenger = new MessageRecorder();
  readonly store: Store;
  readonly hostMemory: HostMemory;
  readonly sealing: Sealing & KeyRegistry;
  readonly repairs: Repairs;
  readonly formation: Formation;
  readonly guard: CounterGuard;
  readonly replica: Replica;
  readonly session: Session<Peer> = sessionWith(clientPeer(WRITER));
  nowMs = 0;
  readonly statusRequests: { slot: number; generation: number }[] = [];
  /** Places of CALL and CALL_OPEN messages that came through. */
  readonly calls: number[] = [];

  constructor(options: ReplicaHarnessOptions = {}) {
    const { store, hostMemory } = makeStore({
      trustedBytes: options.trustedBytes ?? 16 * 1024 * 1024,
      hostBytes: options.hostBytes ?? 16 * 1024 * 1024,
      isUnordered: options.isUnordered ?? false,
      ...(options.segmentBytes !== undefined && { segmentBytes: options.segmentBytes }),
      ...(options.blockBytesMax !== undefined && { blockBytesMax: options.blockBytesMax }),
    });
    this.store = store;
    this.hostMemory = hostMemory;
    const inline = createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.of(1, DATA_KEY) });
    this.sealing = options.wrapSealing?.(inline) ?? inline;
    this.repairs = new Repairs(store, this.sealing, this.drops);
    this.formation = new Formation({
      clusterId: seededBytes(16, 1),
      epoch: 1,
      memberIndex: 0,
      memberCount: options.memberCount ?? 1,
      drawIncarnation: () => '0123456789abcdef0123456789abcdef',
      messenger: this.messenger,
      hash,
      peerSessions: () => [],
      onStateChange() {},
      onNewIncarnation() {},
    });
    this.guard = new CounterGuard({
      messenger: this.messenger,
      drops: this.drops,
      isActive: () => this.formation.isActive,
      peerSessions: () => [],
    });
    this.replica = new Replica({
      store,
      guard: this.guard,
      formation: this.formation,
      messenger: this.messenger,
      drops: this.drops,
      repairs: this.repairs,
      trustedMarginBytes: options.trustedMarginBytes ?? 0,
      takesDataKey: options.takesDataKey?.bind(options),
      onStatusRequest: (_session, slot, generation) => this.statusRequests.push({ slot, generation }),
      onCall: (_incoming, word) => this.calls.push(word),
    });
    if (options.counterCeiling !== undefined) this.#tellCeiling(options.counterCeiling);
  }

  #tellCeiling(ceiling: number): void {
    const recorder = new MessageRecorder();
    const peer = sessionWith(memberPeer(1));
    sendCounters(recorder, peer, 0, 0, ceiling);
    this.guard.onCounters(peer, this.messenger, recorder.take()[0]!.control, 0);
  }

  /** What the replica answers to these messages, in one datagram. */
  ask(messages: readonly Message[], session = this.session, epoch = 1): SentMessage[] {
    this.nowMs++;
    this.replica.onMessages(incomingOf(session, messages, epoch), this.nowMs);
    this.replica.endTurn(this.nowMs);
    return this.messenger.take();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.store.consensus.tick(this.nowMs);
  }

  /** Lets the sealing finish what repairs have handed to it. */
  settleRepairs(): void {
    const sink = {
      onValueSealed: () => {},
      onValueOpened: (token: number, opened: boolean) => this.repairs.onValueOpened(token, opened),
    };
    for (let drains = 0; drains < 200; drains++) this.sealing.drainValues(sink);
  }
}
