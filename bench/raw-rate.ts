import { setTimeout as elapsed } from 'node:timers/promises';
import { CREDIT_PART, DATAGRAM_RECORD_BYTES } from '../net/limits.ts';
import type { TransportHandler } from '../net/transport.ts';
import { UdpTransport } from '../net/udp.ts';

/**
 * How many bytes a second bare node:dgram moves one way from this process to another one, over loopback, when nothing
 * is lost: the sender is paced as a session of ours is. In flight is at most the part of the receiver's buffer that
 * credits divide, each datagram counted with the kernel's record of it; once a turn of its event loop the receiver tells
 * how many have come.
 */
export interface RawRate {
  readonly datagramBytes: number;
  /** Of what arrived. */
  readonly bytesPerSec: number;
  /** Datagrams that were sent and not received, as a share. */
  readonly lostShare: number;
}

/** Datagrams that are acknowledged later than this are lost; on loopback they never are. */
const ACKNOWLEDGE_TIMEOUT_MS = 100;
/** Handed to the kernel at once; a window of small datagrams would hold the event loop. */
const BURST_MAX = 64;

interface Task {
  readonly host: string;
  readonly port: number;
  /** Of the receiver. */
  readonly receiveBufferBytes: number;
  readonly datagramBytes: number;
  readonly warmupMs: number;
  readonly measureMs: number;
}

/** The receiver sends back the low 32 bits of how many datagrams it has received from here. */
export async function measureRawRate(task: Task): Promise<RawRate> {
  const transport = await UdpTransport.open({ host: task.host, port: 0 });
  try {
    return await new Stream(transport, task).run();
  } finally {
    await transport.close();
  }
}

class Stream implements TransportHandler {
  readonly #transport: UdpTransport;
  readonly #task: Task;
  readonly #datagram: Uint8Array;
  readonly #windowDatagrams: number;
  #sent = 0;
  /** Received, or given up. */
  #gone = 0;
  #received = 0;
  #progressMs = performance.now();
  #isEnding = false;

  constructor(transport: UdpTransport, task: Task) {
    this.#transport = transport;
    this.#task = task;
    this.#datagram = new Uint8Array(task.datagramBytes);
    const windowBytes = task.receiveBufferBytes * CREDIT_PART;
    this.#windowDatagrams = Math.max(1, Math.floor(windowBytes / (task.datagramBytes + DATAGRAM_RECORD_BYTES)));
    transport.start(this);
  }

  async run(): Promise<RawRate> {
    const { warmupMs, measureMs, datagramBytes } = this.#task;
    const timer = setInterval(() => this.#giveUp(), ACKNOWLEDGE_TIMEOUT_MS / 2);
    this.#fill();
    await elapsed(warmupMs);
    const [startMs, sentBefore, receivedBefore] = [performance.now(), this.#sent, this.#received];
    await elapsed(measureMs);
    const elapsedSec = (performance.now() - startMs) / 1_000;
    const received = this.#received - receivedBefore;
    this.#isEnding = true;
    // What is under way arrives, or doesn't.
    await elapsed(ACKNOWLEDGE_TIMEOUT_MS);
    clearInterval(timer);
    const sent = this.#sent - sentBefore;
    const arrived = this.#received - receivedBefore;
    return {
      datagramBytes,
      bytesPerSec: (received * datagramBytes) / elapsedSec,
      lostShare: sent === 0 ? 0 : Math.max(0, sent - arrived) / sent,
    };
  }

  onDatagram(datagram: Uint8Array): void {
    const low = new DataView(datagram.buffer, datagram.byteOffset).getUint32(0, true);
    const more = (low - this.#received) >>> 0;
    // One that was overtaken by a later one says nothing new.
    if (more > this.#sent - this.#received) return;
    this.#received += more;
    this.#gone = Math.max(this.#gone, this.#received);
    this.#progressMs = performance.now();
    this.#fill();
  }

  onSent(): void {}

  #fill(): void {
    if (this.#isEnding) return;
    const { host, port } = this.#task;
    const burst = Math.min(BURST_MAX, this.#windowDatagrams - (this.#sent - this.#gone));
    for (let i = 0; i < burst; i++) {
      this.#transport.send(this.#sent++ % this.#windowDatagrams, this.#datagram, this.#datagram.length, host, port);
    }
  }

  #giveUp(): void {
    if (this.#sent === this.#gone || performance.now() - this.#progressMs < ACKNOWLEDGE_TIMEOUT_MS) return;
    this.#gone = this.#sent;
    this.#progressMs = performance.now();
    this.#fill();
  }
}
