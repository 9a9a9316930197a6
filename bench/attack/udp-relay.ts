import { UdpTransport } from '../../net/udp.ts';
import { isLoopback } from '../../src/server/datagram-bytes.ts';

/**
 * The network between a client and one replica, as a hostile network has it: it sees every datagram and decides what
 * becomes of it, and it can send its own, which then come from the address that the replica knows. For one client.
 */

/** What is sent in place of a datagram: itself, something else, several, or nothing. It is the passage's to keep. */
export type Passage = (datagram: Uint8Array) => readonly Uint8Array[];

export const unchanged: Passage = (datagram) => [datagram];
export const lost: Passage = () => [];

export const LOOPBACK = '127.0.0.1';
/** Buffers are never used again here, so that one token does for all. */
const TOKEN = 0;

export class UdpRelay {
  readonly replicaPort: number;
  toReplica: Passage = unchanged;
  toClient: Passage = unchanged;
  readonly #replicaHost: string;
  readonly #clientSide: UdpTransport;
  readonly #replicaSide: UdpTransport;
  #clientPort = 0;

  private constructor(replicaHost: string, replicaPort: number, clientSide: UdpTransport, replicaSide: UdpTransport) {
    this.#replicaHost = replicaHost;
    this.replicaPort = replicaPort;
    this.#clientSide = clientSide;
    this.#replicaSide = replicaSide;
    clientSide.start({
      onDatagram: (datagram, _host, port) => {
        this.#clientPort = port;
        for (const passed of this.toReplica(plainCopy(datagram))) this.sendToReplica(passed);
      },
      onSent: () => {},
    });
    replicaSide.start({
      onDatagram: (datagram) => {
        for (const passed of this.toClient(plainCopy(datagram))) this.sendToClient(passed);
      },
      onSent: () => {},
    });
  }

  /** @param replicaHost An IP address. */
  static async open(replicaPort: number, replicaHost = LOOPBACK): Promise<UdpRelay> {
    const clientSide = await UdpTransport.open({ host: LOOPBACK, port: 0 });
    const anyAddress = replicaHost.includes(':') ? '::' : '0.0.0.0';
    try {
      const host = isLoopback(replicaHost) ? replicaHost : anyAddress;
      const replicaSide = await UdpTransport.open({ host, port: 0 });
      return new UdpRelay(replicaHost, replicaPort, clientSide, replicaSide);
    } catch (error) {
      await clientSide.close();
      throw error;
    }
  }

  /** Where the client is to send. */
  get port(): number {
    return this.#clientSide.port;
  }

  sendToReplica(datagram: Uint8Array): void {
    this.#replicaSide.send(TOKEN, datagram, datagram.length, this.#replicaHost, this.replicaPort);
  }

  sendToClient(datagram: Uint8Array): void {
    this.#clientSide.send(TOKEN, datagram, datagram.length, LOOPBACK, this.#clientPort);
  }

  async close(): Promise<void> {
    await Promise.all([this.#clientSide.close(), this.#replicaSide.close()]);
  }
}

/** Of a Buffer, as sockets give them, slice() would be a view of the same memory. */
function plainCopy(datagram: Uint8Array): Uint8Array {
  return new Uint8Array(datagram);
}
