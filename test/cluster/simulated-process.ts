import assert from 'node:assert/strict';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import type { Dice } from './dice.ts';
import type { Address, LossyNetwork, Receiver } from './lossy-network.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What runs in a process: a ReplicaNode or a ClientNode. */
export interface Node extends TransportHandler {
  turn(nowMs: number): void;
  close(): void;
  invariants(): void;
}

/** What Linux often grants, less the half for its own bookkeeping. */
const RECEIVE_BUFFER_BYTES = 106_496;
/** As src/server/turn-loop.ts: a turn soon after something arrived, and timers. */
const TURN_DELAY_MS_MAX = 0.2;
const BUSY_TICK_MS = 1;
const IDLE_TICK_MS = 25;
/** How long the system holds a buffer that is being sent. */
const SENDING_MS_MAX = 0.3;

interface Arrival {
  readonly datagram: Uint8Array;
  readonly host: string;
  readonly port: number;
}

/**
 * A process in simulated time: a socket with a bounded receive buffer, a clock of its own, and turns as the event loop
 * of Node gives them. It can be paused, as by SIGSTOP, and killed.
 */
export class SimulatedProcess implements Transport, Receiver {
  readonly host: string;
  readonly port: number;
  readonly receiveBufferBytes = RECEIVE_BUFFER_BYTES;
  readonly #time: SimulatedTime;
  readonly #network: LossyNetwork;
  readonly #dice: Dice;
  /** Clocks of different machines neither agree nor run at the same pace. */
  readonly #clockOffsetMs: number;
  readonly #clockRate: number;
  #handler: TransportHandler | undefined;
  #node: Node | undefined;
  #isBusy: () => boolean = () => false;
  #inbox: Arrival[] = [];
  #inboxBytes = 0;
  #turnAtMs = Infinity;
  #pausedUntilMs = -Infinity;
  #alive = true;

  constructor(time: SimulatedTime, network: LossyNetwork, dice: Dice, address: Address) {
    this.host = address.host;
    this.port = address.port;
    this.#time = time;
    this.#network = network;
    this.#dice = dice;
    this.#clockOffsetMs = dice.between(0, 1e6);
    this.#clockRate = dice.between(0.95, 1.05);
    network.attach(address, this);
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  get isPaused(): boolean {
    return this.#time.nowMs < this.#pausedUntilMs;
  }

  get nowMs(): number {
    return this.#clockOffsetMs + this.#time.nowMs * this.#clockRate;
  }

  /** @param isBusy True while the node needs timers of a millisecond. */
  run(node: Node, isBusy: () => boolean): void {
    this.#node = node;
    this.#isBusy = isBusy;
    this.start(node);
    this.schedule();
  }

  /** Something was started: a turn at the end of this loop iteration. */
  schedule(): void {
    this.#scheduleIn(this.#dice.between(0, TURN_DELAY_MS_MAX));
  }

  pause(durationMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#time.nowMs + durationMs);
    this.#time.after(this.#pausedUntilMs - this.#time.nowMs, () => this.schedule());
  }

  /** Ends a pause before its time. */
  resume(): void {
    this.#pausedUntilMs = -Infinity;
    this.schedule();
  }

  /** Nothing that was in memory is left, and nobody is told. */
  kill(): void {
    this.#alive = false;
    this.#network.detach(this);
  }

  #scheduleIn(delayMs: number): void {
    const atMs = this.#time.nowMs + delayMs;
    if (atMs >= this.#turnAtMs) return;
    this.#turnAtMs = atMs;
    this.#time.after(delayMs, () => {
      if (this.#turnAtMs === atMs) this.#turn();
    });
  }

  #turn(): void {
    this.#turnAtMs = Infinity;
    if (!this.#alive || this.isPaused) return;
    for (const { datagram, host, port } of this.#inbox) this.#handler!.onDatagram(datagram, host, port);
    this.#inbox = [];
    this.#inboxBytes = 0;
    this.#node!.turn(this.nowMs);
    this.#scheduleIn(this.#isBusy() ? BUSY_TICK_MS : IDLE_TICK_MS);
  }

  // -- network ----------------------------------------------------------------------------------------------------

  onArrival(datagram: Uint8Array, host: string, port: number): void {
    if (this.#inboxBytes + datagram.length > RECEIVE_BUFFER_BYTES) return;
    this.#inbox.push({ datagram, host, port });
    this.#inboxBytes += datagram.length;
    this.schedule();
  }

  start(handler: TransportHandler): void {
    this.#handler = handler;
  }

  send(token: number, buffer: Uint8Array, byteCount: number, host: string, port: number): void {
    if (!this.#alive) return;
    const datagram = Uint8Array.from(buffer.subarray(0, byteCount));
    this.#network.send(datagram, this, { host, port });
    this.#time.after(this.#dice.between(0, SENDING_MS_MAX), () => {
      if (!this.#alive) return;
      assert.equal(Buffer.compare(datagram, buffer.subarray(0, byteCount)), 0, 'a buffer being sent stays untouched');
      this.#handler!.onSent(token, false);
    });
  }

  async close(): Promise<void> {
    this.kill();
  }
}
