import { UdpProxy } from '../udp-proxy.ts';
import type { Flow, FlowHandler } from '../udp-proxy.ts';

/**
 * The network between clients and one replica, as a hostile network has it: it sees every datagram and decides what
 * becomes of it, and it can send its own, which then come from the address that the replica knows.
 */

/** What is sent in place of a datagram: itself, something else, several, or nothing. It is the passage's to keep. */
export type Passage = (datagram: Uint8Array) => readonly Uint8Array[];

export const unchanged: Passage = (datagram) => [datagram];
export const lost: Passage = () => [];

export class HostileProxy {
  readonly replicaPort: number;
  toReplica: Passage = unchanged;
  toClient: Passage = unchanged;
  readonly #proxy: UdpProxy;
  /** Of the client that came last. */
  #flow: Flow | undefined;

  private constructor(replicaPort: number, proxy: UdpProxy) {
    this.replicaPort = replicaPort;
    this.#proxy = proxy;
    proxy.start({ onPeer: (flow) => this.#handlerOf(flow) });
  }

  /** @param replicaHost An IP address; default: loopback. */
  static async open(replicaPort: number, replicaHost?: string): Promise<HostileProxy> {
    return new HostileProxy(replicaPort, await UdpProxy.open(replicaPort, replicaHost));
  }

  /** Where the client is to send. */
  get port(): number {
    return this.#proxy.port;
  }

  /** As if it came from the client that came last. */
  sendToReplica(datagram: Uint8Array): void {
    this.#flow?.sendToReplica(datagram);
  }

  async close(): Promise<void> {
    await this.#proxy.close();
  }

  #handlerOf(flow: Flow): FlowHandler {
    this.#flow = flow;
    return {
      toReplica: (datagram) => {
        for (const passed of this.toReplica(plainCopy(datagram))) flow.sendToReplica(passed);
      },
      toPeer: (datagram) => {
        for (const passed of this.toClient(plainCopy(datagram))) flow.sendToPeer(passed);
      },
    };
  }
}

/** Of a Buffer, as sockets give them, slice() would be a view of the same memory. */
function plainCopy(datagram: Uint8Array): Uint8Array {
  return new Uint8Array(datagram);
}
