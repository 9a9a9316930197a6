import { assert } from './assert.ts';
import { Flight } from './flight.ts';
import { REFUSE_AFTER_MS, REFUSE_AFTER_PACKETS, RENEW_AFTER_MS, RENEW_AFTER_PACKETS, SESSIONS_MAX } from './limits.ts';
import { ReplayWindow } from './replay-window.ts';
import type { KeyHandle, SessionKeys } from './sealing.ts';
import { NO_KEY } from './sealing.ts';

/**
 * - initiating: message 1 sent, keys not known yet
 * - half-open: message 2 sent; lives only after the first valid data packet, since message 1 can be a replay
 * - live
 * - retiring: renewed or replaced; still receives what was under way
 * - dead: keys erased or about to be
 */
export type SessionState = 'initiating' | 'half-open' | 'live' | 'retiring' | 'dead';

/** One direction-pair of keys with a peer. P is what the application knows of the peer. */
export class Session<P> {
  /** The number peers put into their headers: table slot in the low bits, generation above. */
  readonly index: number;
  readonly initiator: boolean;
  readonly host: string;
  readonly port: number;
  readonly createdMs: number;
  state: SessionState;
  peerIndex = 0;
  sendKey: KeyHandle = NO_KEY;
  receiveKey: KeyHandle = NO_KEY;
  #peer: P | undefined;

  sendNumber = 0;
  readonly window = new ReplayWindow();
  /** Of the side that asks: answers ride on the asker's credit. */
  flight: Flight | undefined;
  /** Largest datagram that both ends take. */
  datagramBytesMax: number;
  forgeries = 0;
  lastReceivedMs: number;
  /** When the first packet went out that nothing was received after; Infinity when there is none. */
  unansweredSinceMs = Infinity;
  /** When the first messages came that nothing was sent after; Infinity when there are none. */
  unacknowledgedSinceMs = Infinity;
  retireAtMs = Infinity;
  /** Jobs at the sealing that use this session's keys; the keys are erased when none is left. */
  jobsPending = 0;

  /** The datagram under construction: ring slot (-1 none), end of its value part, end of its control part, bytes. */
  slot = -1;
  /** What it may grow to. */
  slotBytesMax = 0;
  valueEnd = 0;
  controlEnd = 0;
  /** Listed for the next flush. */
  listed = false;

  constructor(
    index: number,
    state: 'initiating' | 'half-open',
    host: string,
    port: number,
    datagramBytesMax: number,
    nowMs: number,
  ) {
    this.index = index;
    this.state = state;
    this.initiator = state === 'initiating';
    this.host = host;
    this.port = port;
    this.datagramBytesMax = datagramBytesMax;
    this.createdMs = nowMs;
    this.lastReceivedMs = nowMs;
  }

  get peer(): P {
    assert(this.#peer !== undefined, 'the peer of a session is known once its handshake is done');
    return this.#peer;
  }

  establish(peer: P, peerIndex: number, keys: SessionKeys, creditBytes: number, datagramBytesMax: number): void {
    this.#peer = peer;
    this.peerIndex = peerIndex;
    this.sendKey = keys.sendKey;
    this.receiveKey = keys.receiveKey;
    this.datagramBytesMax = Math.min(this.datagramBytesMax, datagramBytesMax);
    if (this.initiator) this.flight = new Flight(creditBytes, this.datagramBytesMax, this.createdMs);
  }

  needsRenewal(nowMs: number): boolean {
    return nowMs - this.createdMs >= RENEW_AFTER_MS || this.sendNumber >= RENEW_AFTER_PACKETS;
  }

  isExpired(nowMs: number): boolean {
    return nowMs - this.createdMs >= REFUSE_AFTER_MS || this.sendNumber >= REFUSE_AFTER_PACKETS;
  }

  canSend(): boolean {
    return this.state === 'live' || this.state === 'retiring';
  }
}

const SLOT_MASK = SESSIONS_MAX - 1;
const SLOT_BITS = Math.log2(SESSIONS_MAX);

/** All sessions of an endpoint by index. A freed slot's next session has another generation, so another index. */
export class SessionTable<P> {
  readonly #slots: (Session<P> | undefined)[] = Array.from<Session<P> | undefined>({ length: SESSIONS_MAX });
  readonly #generations = new Uint32Array(SESSIONS_MAX);
  readonly #free: number[] = [];
  readonly #all = new Set<Session<P>>();

  constructor() {
    for (let slot = SESSIONS_MAX - 1; slot >= 0; slot--) this.#free.push(slot);
  }

  get count(): number {
    return this.#all.size;
  }

  /** A new session from its index, or undefined when the table is full. */
  add(create: (index: number) => Session<P>): Session<P> | undefined {
    const slot = this.#free.pop();
    if (slot === undefined) return undefined;
    const generation = (this.#generations[slot]! + 1) & (2 ** (32 - SLOT_BITS) - 1);
    this.#generations[slot] = generation;
    const session = create(((generation << SLOT_BITS) | slot) >>> 0);
    this.#slots[slot] = session;
    this.#all.add(session);
    return session;
  }

  find(index: number): Session<P> | undefined {
    const session = this.#slots[index & SLOT_MASK];
    return session !== undefined && session.index === index ? session : undefined;
  }

  remove(session: Session<P>): void {
    const slot = session.index & SLOT_MASK;
    assert(this.#slots[slot] === session, 'a session is removed once');
    this.#slots[slot] = undefined;
    this.#free.push(slot);
    this.#all.delete(session);
  }

  [Symbol.iterator](): IterableIterator<Session<P>> {
    return this.#all.values();
  }
}
