import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { SocketAddress, isIP } from 'node:net';
import { lookup } from 'node:dns/promises';
import { MessageChannel } from 'node:worker_threads';
import type { Transport, TransportHandler } from './transport.ts';

/** UDP by node:dgram, the one file that imports it. One system call a datagram each way. */

/** Asked of the system; it grants at most net.core.rmem_max (often 212,992 bytes). */
const RECEIVE_BUFFER_BYTES_WANTED = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES_WANTED = 4 * 1024 * 1024;

/**
 * A port that is closed takes what is transferred to it, and gives it to nobody (HTML standard, 9.5.3): the memory is free
 * at once. The way to do that without a port, ArrayBuffer.prototype.transfer, came with Node 21.
 */
const nowhere = new MessageChannel().port1;
nowhere.close();

export interface UdpOptions {
  /** Address to bind; an IP address. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Asked of the system in place of the usual; it may grant less. */
  readonly receiveBufferBytes?: number | undefined;
}

export class UdpTransport implements Transport {
  readonly host: string;
  readonly port: number;
  readonly receiveBufferBytes: number;
  readonly #socket: Socket;
  readonly #sentCallbacks: ((error: Error | null) => void)[] = [];
  #handler: TransportHandler | undefined;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.host = socket.address().address;
    this.port = socket.address().port;
    // Linux reports twice what it granted, the half for its own bookkeeping (socket(7), SO_RCVBUF).
    this.receiveBufferBytes = socket.getRecvBufferSize() / (process.platform === 'linux' ? 2 : 1);
  }

  /** Rejects with the system's error, e.g. code EADDRINUSE. */
  static async open(options: UdpOptions): Promise<UdpTransport> {
    const family = isIP(options.host) === 6 ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      recvBufferSize: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES_WANTED,
      sendBufferSize: SEND_BUFFER_BYTES_WANTED,
      // Peers are IP addresses here: a resolver in between costs 2.3 us a send.
      lookup: (address, _options, callback) => callback(null, address, family),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port: options.port, address: options.host, exclusive: true }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    return new UdpTransport(socket);
  }

  start(handler: TransportHandler): void {
    this.#handler = handler;
    this.#socket.on('message', (datagram, remote) => handler.onDatagram(datagram, remote.address, remote.port));
    // Errors of single sends come to their callbacks; what is left (an ICMP message) concerns no one.
    this.#socket.on('error', () => {});
  }

  send(token: number, buffer: Uint8Array, byteCount: number, host: string, port: number): void {
    if (this.#closed) return;
    this.#socket.send(buffer, 0, byteCount, port, host, this.#sentCallback(token));
  }

  release({ buffer, byteLength }: Uint8Array): void {
    // Others may lie in the same memory.
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== byteLength) return;
    nowhere.postMessage(undefined, [buffer]);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #sentCallback(token: number): (error: Error | null) => void {
    return (this.#sentCallbacks[token] ??= (error) => this.#handler?.onSent(token, error !== null));
  }
}

/** The IP address of a host name; an address is returned as it is. */
export async function resolveHost(host: string): Promise<string> {
  const family = isIP(host);
  if (family === 0) return (await lookup(host)).address;
  // In the one form that received datagrams have it, too.
  return new SocketAddress({ address: host, family: family === 6 ? 'ipv6' : 'ipv4' }).address;
}
