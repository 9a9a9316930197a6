/**
 * A network in memory: transports that reach each other by host and port, with a hook that decides what becomes of each
 * datagram. Nothing moves by itself: deliver() does, so that a test says when and in which order.
 *
 *     const network = new MemoryNetwork();
 *     const a = network.open('10.0.0.1', 7000);
 *     network.route = faultyRoute({ random: seededRandom(1), loss: 0.1, delayMsMax: 5 });
 *     network.deliver(nowMs);
 *
 * As with a socket, send() returns at once, onSent() comes later and never from inside send(), and the buffer is read
 * only shortly before onSent(): an owner who touches it too early sends garbage, and the test sees it.
 */
import { assert } from '../../net/assert.ts';
import type { Transport, TransportHandler } from '../../net/transport.ts';

/** A datagram that a transport has sent, or that a test injects. */
export interface MemoryDatagram {
  readonly fromHost: string;
  readonly fromPort: number;
  readonly toHost: string;
  readonly toPort: number;
  readonly bytes: Uint8Array;
}

/** One arrival of a datagram, so many milliseconds after it was sent. None is a loss, two a duplicate. */
export interface Arrival {
  readonly delayMs: number;
  readonly datagram: MemoryDatagram;
}

/** What becomes of a datagram. May change it, but only in a copy. */
export type Route = (datagram: MemoryDatagram) => readonly Arrival[];

/** Each datagram arrives once, whole, in the next deliver(). */
export const perfectRoute: Route = (datagram) => [{ delayMs: 0, datagram }];

export interface Faults {
  /** Numbers in [0, 1); seeded, so that a failure can be replayed. */
  readonly random: () => number;
  /** Probabilities a datagram. */
  readonly loss?: number;
  readonly duplicate?: number;
  /** One bit flipped anywhere. */
  readonly mutate?: number;
  /** Each arrival is delayed by its own share of this, so that datagrams overtake each other. */
  readonly delayMsMax?: number;
}

export function faultyRoute(faults: Faults): Route {
  const { random, loss = 0, duplicate = 0, mutate = 0, delayMsMax = 0 } = faults;
  return (datagram) => {
    if (random() < loss) return [];
    const copies = random() < duplicate ? 2 : 1;
    return Array.from({ length: copies }, () => ({
      delayMs: random() * delayMsMax,
      datagram: random() < mutate ? flipBit(datagram, Math.floor(random() * datagram.bytes.length * 8)) : datagram,
    }));
  };
}

export function flipBit(datagram: MemoryDatagram, bit: number): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return { ...datagram, bytes };
}

/** Largest UDP payload over IPv4 (RFC 768, 791). */
const PAYLOAD_BYTES_MAX = 65_507;
/** What Linux often grants. */
const RECEIVE_BUFFER_BYTES = 212_992;

interface Flying {
  readonly dueMs: number;
  readonly datagram: MemoryDatagram;
}

export class MemoryNetwork {
  /** Asked for each datagram that a transport sends, not for injected ones. */
  route: Route = perfectRoute;
  /** Called with each datagram that is sent, before it is routed; for recording. */
  onSend: ((datagram: MemoryDatagram) => void) | undefined;
  readonly #transports = new Map<string, MemoryTransport>();
  /** In the order in which they were sent. */
  #flying: Flying[] = [];

  /** Throws an error with code EADDRINUSE, as a socket does. */
  open(host: string, port: number, receiveBufferBytes = RECEIVE_BUFFER_BYTES): MemoryTransport {
    const address = addressOf(host, port);
    if (this.#transports.has(address)) {
      throw Object.assign(new Error(`${address} is in use`), { code: 'EADDRINUSE' });
    }
    const transport = new MemoryTransport(host, port, receiveBufferBytes, () => this.#transports.delete(address));
    this.#transports.set(address, transport);
    return transport;
  }

  /** Puts a datagram on the wire as an attacker may, with any sender's address. It arrives in the next deliver(). */
  inject(datagram: MemoryDatagram): void {
    this.#flying.push({ dueMs: -Infinity, datagram: { ...datagram, bytes: datagram.bytes.slice() } });
  }

  /** Datagrams on their way. */
  get flyingCount(): number {
    return this.#flying.length;
  }

  /**
   * Reports what was sent since the last call, then hands over all that is due, the earliest first. What the handlers
   * send meanwhile waits for the next call. Returns how many datagrams it handed over.
   */
  deliver(nowMs: number): number {
    for (const transport of this.#transports.values()) {
      transport.complete((datagram) => {
        this.onSend?.(datagram);
        for (const arrival of this.route(datagram)) {
          this.#flying.push({ dueMs: nowMs + arrival.delayMs, datagram: arrival.datagram });
        }
      });
    }
    const due = this.#flying.filter((flying) => flying.dueMs <= nowMs);
    this.#flying = this.#flying.filter((flying) => flying.dueMs > nowMs);
    due.sort((a, b) => a.dueMs - b.dueMs);
    for (const { datagram } of due) {
      this.#transports.get(addressOf(datagram.toHost, datagram.toPort))?.receive(datagram);
    }
    return due.length;
  }
}

interface Sending {
  readonly token: number;
  readonly buffer: Uint8Array;
  readonly byteCount: number;
  readonly toHost: string;
  readonly toPort: number;
}

export class MemoryTransport implements Transport {
  readonly host: string;
  readonly port: number;
  readonly receiveBufferBytes: number;
  /** While true, nothing that was sent is reported or leaves: a kernel whose buffer is full. */
  stalled = false;
  /** While true, all that is sent fails: a network that is down. */
  failing = false;
  readonly #onClose: () => void;
  #handler: TransportHandler | undefined;
  #sending: Sending[] = [];
  #closed = false;

  constructor(host: string, port: number, receiveBufferBytes: number, onClose: () => void) {
    this.host = host;
    this.port = port;
    this.receiveBufferBytes = receiveBufferBytes;
    this.#onClose = onClose;
  }

  start(handler: TransportHandler): void {
    this.#handler = handler;
  }

  send(token: number, buffer: Uint8Array, byteCount: number, host: string, port: number): void {
    if (this.#closed) return;
    assert(byteCount <= buffer.length, 'a datagram lies within its buffer');
    assert(port >= 1 && port <= 65_535, 'a socket refuses such a port with an exception');
    this.#sending.push({ token, buffer, byteCount, toHost: host, toPort: port });
  }

  /** Whoever still looks at it reads what nobody has sent. */
  release(datagram: Uint8Array): void {
    datagram.fill(0xdd);
  }

  close(): Promise<void> {
    if (!this.#closed) this.#onClose();
    this.#closed = true;
    this.#sending = [];
    return Promise.resolve();
  }

  /** For the network: passes on what was sent, and reports it. */
  complete(pass: (datagram: MemoryDatagram) => void): void {
    if (this.stalled) return;
    const sending = this.#sending;
    this.#sending = [];
    for (const { token, buffer, byteCount, toHost, toPort } of sending) {
      const failed = this.failing || byteCount > PAYLOAD_BYTES_MAX;
      if (!failed) {
        const bytes = Uint8Array.from(buffer.subarray(0, byteCount));
        pass({ fromHost: this.host, fromPort: this.port, toHost, toPort, bytes });
      }
      this.#handler?.onSent(token, failed);
    }
  }

  /** For the network: each arrival is memory of its own, the handler's from now on. */
  receive(datagram: MemoryDatagram): void {
    this.#handler?.onDatagram(datagram.bytes.slice(), datagram.fromHost, datagram.fromPort);
  }
}

function addressOf(host: string, port: number): string {
  return `${host}:${port}`;
}
