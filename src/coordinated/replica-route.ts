import type { DropCounters } from '../../net/drops.ts';
import type { Link } from '../../net/link.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { MESSAGE_CALL, MESSAGE_CALL_OPEN } from '../protocol/call-messages.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../protocol/call-part-messages.ts';
import { Coordinator } from '../protocol/coordinator.ts';
import type { CoordinatorCounters } from '../protocol/coordinator.ts';
import type { CounterGuard } from '../protocol/counter-guard.ts';
import { MESSAGE_COUNTERS } from '../protocol/counters-message.ts';
import type { Formation } from '../protocol/formation.ts';
import { MESSAGE_STATE, OPERATION_SLOTS_MAX, typeOf } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { OperationSink, Outcome } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import type { Writer } from '../protocol/put-flow.ts';
import { RESEAL_TOKEN } from '../protocol/resealer.ts';
import { MESSAGE_RESOLVE } from '../protocol/resolve-messages.ts';
import { RMW_OPERATION_BYTES } from '../protocol/rmw-operation.ts';
import { CONDITION_NONE, RMW_RESEAL } from '../protocol/rmw-request.ts';
import type { RmwRequest } from '../protocol/rmw-request.ts';
import { Permissions } from '../trust/permissions.ts';
import { HostMemory } from '../store/host-memory.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';
import { CallServer } from './call-server.ts';
import { LOOPBACK_BYTES, Loopback } from './loopback.ts';
import { ReplicaMembership } from './replica-membership.ts';
import { ResolveServer } from './resolve-server.ts';

/**
 * The coordinated route in a replica: clients that hold a session only call it, and it coordinates for them, as the
 * coordinator in a client would for itself.
 *
 *     CALL  -> CallServer      once for each call
 *           -> Coordinator     asks a quorum: other replicas over this one's links, its own replica in memory (Loopback)
 *           -> CallServer      CALL_REPLY
 *     RESOLVE -> ResolveServer -> Coordinator -> RESOLVE_REPLY, for clients that coordinate themselves and may not write
 *
 * Values are in clear here until they are sealed, and once they were opened: in trusted memory, which is taken when the
 * first client calls. A replica that nobody calls spends nothing on this.
 */
export interface ReplicaRouteOptions {
  readonly memberIndex: number;
  readonly memberCount: number;
  readonly writer: Writer;
  readonly formation: Formation;
  readonly guard: CounterGuard;
  /** By member; undefined at the own place. */
  readonly links: readonly (Link<Peer> | undefined)[];
  readonly messenger: Messenger;
  readonly datagramBytes: number;
  /** What answers by parts may take of the process's receive buffer at once. */
  readonly pullBytesMax: number;
  readonly sealing: Sealing;
  /** The sealing has workers. */
  readonly sharedBuffers: boolean;
  readonly drops: DropCounters;
  readonly budget: TrustedBudget;
  onResealed(outcome: Outcome): void;
  /** The replica of this process. */
  serve(incoming: Incoming<Peer>): void;
}

/** What coordinating may take. */
interface Room {
  readonly capacity: number;
  readonly flightBytes: number;
}
/** Operations at once: as many as saturate a replica several times over; and keys and values of theirs in clear. */
const ROOM: Room = { capacity: 4_096, flightBytes: 8 * 1024 * 1024 };
/** Where trusted memory is scarce. */
const SMALL_ROOM: Room = { capacity: 512, flightBytes: 1024 * 1024 };
/** Parts of that memory, each for blocks of one size: so values of thirty sizes can be in flight. */
const SEGMENT_COUNT = 32;
/** Of the tables of operations and calls (measured: 170), and of what a read-modify-write has beside them. */
const OPERATION_BYTES = 192 + RMW_OPERATION_BYTES;
/** Of the trusted budget that is free; the rest is for keys. */
const FREE_SHARE = 2;

const ACCOUNT = 'coordinated operations';
/** Calls have one token for each place of the coordinator's table; these lie behind them. */
const RESOLVE_TOKENS = OPERATION_SLOTS_MAX;

const NO_BYTES = new Uint8Array(0);
const RESEAL: RmwRequest = {
  change: RMW_RESEAL,
  condition: CONDITION_NONE,
  value: NO_BYTES,
  expected: NO_BYTES,
  version: undefined,
  delta: 0n,
};
const RESEAL_DEADLINE_MS = 10_000;

export class ReplicaRoute {
  readonly calls: CallServer;
  readonly resolves: ResolveServer;
  readonly loopback: Loopback;
  readonly membership: ReplicaMembership;
  readonly #options: ReplicaRouteOptions;
  #coordinator: Coordinator | undefined;
  #nowMs = 0;
  /** Three start operations: clients' calls, their RESOLVEs, and the replica itself, for values under an old data key. */
  readonly #sink: OperationSink = {
    onOperationEnded: (token, outcome, value, valueBytes) => {
      if (token === RESEAL_TOKEN) this.#options.onResealed(outcome);
      else if (token >= RESOLVE_TOKENS) this.resolves.onOperationEnded(token, outcome);
      else this.calls.onOperationEnded(token, outcome, value, valueBytes);
    },
  };
  readonly #toReplica = (incoming: Incoming<Peer>): void => this.#options.serve(incoming);
  readonly #toCoordinator = (incoming: Incoming<Peer>): void => this.#coordinator!.onMessages(incoming, this.#nowMs);

  constructor(options: ReplicaRouteOptions) {
    this.#options = options;
    const { memberIndex, writer, formation, messenger, datagramBytes } = options;
    this.loopback = new Loopback({
      remote: messenger,
      peer: {
        // Its clients' permissions are looked at when they call.
        identity: { role: 'replica', memberIndex, permissions: Permissions.ALL },
        ...writer,
        incarnation: undefined,
        staticKey: '',
        voucherGroup: 0,
        key: `member ${memberIndex}`,
      },
      datagramBytes,
      epoch: () => formation.epoch,
    });
    this.membership = new ReplicaMembership({
      memberIndex,
      memberCount: options.memberCount,
      formation,
      links: options.links,
      ownSession: this.loopback.session,
    });
    this.calls = new CallServer({
      messenger,
      drops: options.drops,
      budget: options.budget,
      coordinator: () => (this.#coordinator ??= this.#createCoordinator()),
    });
    this.resolves = new ResolveServer({
      messenger,
      firstToken: RESOLVE_TOKENS,
      coordinator: () => (this.#coordinator ??= this.#createCoordinator()),
    });
  }

  /** Operations under way. */
  get active(): number {
    return this.#coordinator?.active ?? 0;
  }

  /** Of what it coordinated; undefined when it never did. */
  get counters(): CoordinatorCounters | undefined {
    return this.#coordinator?.counters;
  }

  get nextTickMs(): number {
    // What the last turn left undelivered is due at once.
    if (!this.loopback.isEmpty) return this.#nowMs;
    return this.#coordinator?.nextTickMs ?? Infinity;
  }

  #createCoordinator(): Coordinator | undefined {
    const { budget, formation, sealing, drops } = this.#options;
    if (!formation.isActive) return undefined;
    const room = [ROOM, SMALL_ROOM].find((candidate) => {
      const byteCount = roomBytes(candidate);
      return byteCount <= budget.available / FREE_SHARE && budget.tryReserve(ACCOUNT, byteCount);
    });
    if (room === undefined) return undefined;
    const { membership } = this;
    membership.update();
    return new Coordinator({
      memberCount: membership.memberCount,
      readyMask: () => membership.readyMask(),
      epoch: () => membership.epoch(),
      session: (member) => membership.session(member),
      ...this.#options.writer,
      capacity: room.capacity,
      pullBytesMax: this.#options.pullBytesMax,
      // Paid for above as a whole.
      memory: new HostMemory({
        budget: TrustedBudget.unbounded(),
        hostBytesMax: room.flightBytes,
        segmentBytes: room.flightBytes / SEGMENT_COUNT,
        isShared: this.#options.sharedBuffers,
      }),
      messenger: this.loopback.requests,
      sealing,
      drops,
      sink: this.#sink,
      onOtherMessage: (incoming, word) => this.#onOtherMessage(incoming, word),
    });
  }

  /** Seals a value anew, under the data key that is current; false when there is no room for that now. */
  startReseal(key: Uint8Array, nowMs: number): boolean {
    this.#coordinator ??= this.#createCoordinator();
    if (this.#coordinator === undefined) return false;
    return this.#coordinator.startRmw(RESEAL_TOKEN, key, RESEAL, RESEAL_DEADLINE_MS, nowMs) !== -1;
  }

  // -- messages ---------------------------------------------------------------------------------------------------

  /** What clients send of calls, and RESOLVE. */
  onCall(incoming: Incoming<Peer>, word: number, nowMs: number): void {
    switch (typeOf(incoming.region.words, word)) {
      case MESSAGE_CALL_OPEN:
        return this.calls.onOpen(incoming, word, nowMs);
      case MESSAGE_CALL:
        return this.calls.onCall(incoming, word, nowMs);
      case MESSAGE_RESOLVE:
        return this.resolves.onResolve(incoming, word, nowMs);
      case MESSAGE_CALL_PART:
        return this.calls.onPart(incoming, word, nowMs);
      case MESSAGE_CALL_PULL:
        return this.calls.onPull(incoming, word, nowMs);
      default:
        this.#options.drops.count('unexpected-message');
    }
  }

  /** What comes on a session that this replica made: answers to its coordinator, and what others say of themselves. */
  onAnswers(incoming: Incoming<Peer>, nowMs: number): boolean {
    if (this.#coordinator === undefined) return false;
    this.#coordinator.onMessages(incoming, nowMs);
    return true;
  }

  #onOtherMessage(incoming: Incoming<Peer>, word: number): void {
    const { words } = incoming.region;
    const { formation, guard, messenger, drops } = this.#options;
    switch (typeOf(words, word)) {
      case MESSAGE_STATE:
        return formation.onState(incoming.session, words, word);
      case MESSAGE_COUNTERS:
        return guard.onCounters(incoming.session, messenger, words, word);
      default:
        drops.count('unexpected-message');
    }
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** First of all in a turn. */
  begin(nowMs: number): void {
    this.#nowMs = nowMs;
    this.calls.begin(nowMs);
    if (this.#coordinator !== undefined) this.membership.update();
  }

  onSessionLive(): void {
    if (this.#coordinator !== undefined) this.membership.update();
  }

  /** Retransmissions, hedges and deadlines that are due. */
  tick(nowMs: number): void {
    this.calls.tick(nowMs);
    this.#coordinator?.tick(nowMs);
  }

  /** Hands over what coordinator and own replica have to say to each other. */
  deliver(): void {
    this.loopback.deliver(this.#toReplica, this.#toCoordinator);
  }

  /** After the turn's datagrams have left; true when there is something to be sealed. */
  submitSeals(): boolean {
    return this.#coordinator?.submitSeals() ?? false;
  }

  /** Goes on with what is sent by parts. */
  pump(): void {
    this.#coordinator?.pump();
  }

  onValueSealed(token: number, sealed: boolean): void {
    this.#coordinator!.onValueSealed(token, sealed);
  }

  onValueOpened(token: number, opened: boolean): void {
    this.#coordinator!.onValueOpened(token, opened);
  }

  close(): void {
    this.#coordinator?.close();
  }

  invariants(): void {
    this.calls.invariants();
    this.#coordinator?.invariants();
  }
}

function roomBytes({ capacity, flightBytes }: Room): number {
  return flightBytes + capacity * OPERATION_BYTES + LOOPBACK_BYTES;
}
