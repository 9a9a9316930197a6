import assert from 'node:assert/strict';
import type { Endpoint } from '../../net/endpoint.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';
import type { Dice } from './dice.ts';
import type { Address, LossyNetwork, Receiver } from './lossy-network.ts';
import type { Message } from './messages-seen.ts';
import { SimulatedClock } from './simulated-clock.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What runs in a process: a ReplicaNode or a ClientNode. */
export interface Node extends TransportHandler {
  turn(nowMs: number): void;
  /** The next turn follows at once. */
  readonly isWorkLeft: boolean;
  close(): void;
  invariants(): void;
}

/** What Linux often grants, less the half for its own bookkeeping. */
const RECEIVE_BUFFER_BYTES = 106_496;
/** As src/server/turn-loop.ts: a turn soon after something arrived, and a timer for what is due, in whole milliseconds. */
const TURN_DELAY_MS_MAX = 0.2;
const TIMER_MS_MIN = 1;
const IDLE_TICK_MS = 25;
/** How long the system holds a buffer that is being sent. */
const SENDING_MS_MAX = 0.3;

interface Arrival {
  readonly datagram: Uint8Array;
  readonly host: string;
  readonly port: number;
}

/** How a process's machine serves it at present. */
export interface Service {
  /** Turns come late by up to so much. */
  readonly turnDelayMsMax: number;
  /** Buffers being sent come back within so much, and some with an error (EAGAIN, ENOBUFS). */
  readonly sendingMsMax: number;
  readonly sendFailures: number;
}

export const GOOD_SERVICE: Service = {
  turnDelayMsMax: TURN_DELAY_MS_MAX,
  sendingMsMax: SENDING_MS_MAX,
  sendFailures: 0,
};

/** What the world learns of a process. */
export interface ProcessObserver {
  onSendFailed(): void;
  onOverrun(): void;
  onReceived(messages: readonly Message[]): void;
}

/**
 * A process in simulated time: a socket with a bounded receive buffer, a clock of its own, and turns as the event loop
 * of Node gives them. It can be paused, as by SIGSTOP, slowed down, and killed.
 */
export class SimulatedProcess implements Transport, Receiver {
  readonly host: string;
  readonly port: number;
  readonly receiveBufferBytes = RECEIVE_BUFFER_BYTES;
  readonly clock: SimulatedClock;
  service: Service = GOOD_SERVICE;
  observer: ProcessObserver | undefined;
  /** What the datagram in a send buffer carries. */
  contentsOf: (token: number) => readonly Message[] = () => [];
  readonly #time: SimulatedTime;
  readonly #network: LossyNetwork;
  readonly #dice: Dice;
  #handler: TransportHandler | undefined;
  #node: Node | undefined;
  #nextTurnMs: () => number = () => Infinity;
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
    this.clock = new SimulatedClock(time, dice);
    network.attach(address, this);
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  get isPaused(): boolean {
    return this.#time.nowMs < this.#pausedUntilMs;
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  /** @param nextTurnMs When the node's next turn is due though nothing arrives; Infinity when it need not be soon. */
  run(node: Node, nextTurnMs: () => number): void {
    this.#node = node;
    this.#nextTurnMs = nextTurnMs;
    this.start(node);
    this.schedule();
  }

  /** Runs an end of the message layer that has no node around it. */
  runEndpoint<P>(endpoint: Endpoint<P>): void {
    this.run(
      {
        onDatagram: (datagram, host, port) => endpoint.onDatagram(datagram, host, port),
        onSent: (token, failed) => endpoint.onSent(token, failed),
        turn: (nowMs) => {
          endpoint.turn(nowMs);
          endpoint.tick(nowMs);
          endpoint.flush(nowMs);
        },
        isWorkLeft: false,
        close: () => endpoint.close(),
        invariants: () => endpoint.invariants(),
      },
      () => Infinity,
    );
  }

  /** Something was started: a turn at the end of this loop iteration. */
  schedule(): void {
    this.#scheduleIn(this.#dice.between(0, this.service.turnDelayMsMax));
  }

  pause(durationMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#time.nowMs + durationMs);
    this.#time.after(this.#pausedUntilMs - this.#time.nowMs, () => this.schedule());
  }

  /** Ends a pause before its time, and whatever else its machine did to it. */
  resume(): void {
    this.#pausedUntilMs = -Infinity;
    this.service = GOOD_SERVICE;
    this.schedule();
  }

  /** Nothing that was in memory is left, and nobody is told. */
  kill(): void {
    this.#alive = false;
    this.#network.detach(this, this);
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
    if (this.#node!.isWorkLeft) this.schedule();
    const dueInMs = Math.max(TIMER_MS_MIN, Math.ceil(this.#nextTurnMs() - this.nowMs));
    this.#scheduleIn(Math.min(dueInMs, IDLE_TICK_MS));
  }

  // -- network ----------------------------------------------------------------------------------------------------

  onArrival(datagram: Uint8Array, host: string, port: number, messages: readonly Message[] = []): void {
    if (this.#inboxBytes + datagram.length > RECEIVE_BUFFER_BYTES) return this.observer?.onOverrun();
    this.#inbox.push({ datagram, host, port });
    this.#inboxBytes += datagram.length;
    this.observer?.onReceived(messages);
    this.schedule();
  }

  start(handler: TransportHandler): void {
    this.#handler = handler;
  }

  send(token: number, buffer: Uint8Array, byteCount: number, host: string, port: number): void {
    if (!this.#alive) return;
    const { sendFailures, sendingMsMax } = this.service;
    const failed = sendFailures > 0 && this.#dice.chance(sendFailures);
    const datagram = Uint8Array.from(buffer.subarray(0, byteCount));
    const messages = this.contentsOf(token);
    if (failed) this.observer?.onSendFailed();
    else this.#network.send(datagram, this, { host, port }, messages);
    this.#time.after(this.#dice.between(0, sendingMsMax), () => {
      if (!this.#alive) return;
      assert.equal(Buffer.compare(datagram, buffer.subarray(0, byteCount)), 0, 'a buffer being sent stays untouched');
      this.#handler!.onSent(token, failed);
    });
  }

  /** Whoever still looks at it reads what nobody has sent. */
  release(datagram: Uint8Array): void {
    datagram.fill(0xdd);
  }

  async close(): Promise<void> {
    this.kill();
  }
}
