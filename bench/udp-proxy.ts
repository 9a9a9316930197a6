import { UdpTransport } from '../net/udp.ts';
import { isLoopback } from '../src/server/datagram-bytes.ts';

/**
 * A port forwarder in front of one replica whose owner decides what becomes of each datagram. Everybody else sends to its
 * public port; each of them has a flow: a socket of its own towards the replica, so that the replica tells them apart and
 * both ends always see one address of the other.
 *
 *     peer <-> public port | flow of this peer: what its handler passes on | flow's port <-> replica
 */
export interface UdpProxyHandler {
  /** Another peer has sent something. */
  onPeer(flow: Flow): FlowHandler;
  /** A datagram came from a peer that is one too many. */
  onRefused?(): void;
}

/** Datagrams of a flow as they come in. They are the handler's to keep. */
export interface FlowHandler {
  toReplica(datagram: Uint8Array): void;
  toPeer(datagram: Uint8Array): void;
  close?(): void;
}

export const LOOPBACK = '127.0.0.1';
/** Buffers are not used again, so that one token does for all. */
const TOKEN = 0;
/** Load processes (64) and replicas (7) are fewer; anyone else on this machine who sends here is not let through. */
export const FLOWS_MAX = 128;
/** What is sent before a flow's socket is open. */
const EARLY_DATAGRAMS_MAX = 64;

export class UdpProxy {
  readonly #replicaHost: string;
  readonly #replicaPort: number;
  readonly #public: UdpTransport;
  /** By the peer's address. */
  readonly #flows = new Map<string, { readonly flow: Flow; readonly handler: FlowHandler }>();

  private constructor(publicSide: UdpTransport, replicaPort: number, replicaHost: string) {
    this.#public = publicSide;
    this.#replicaPort = replicaPort;
    this.#replicaHost = replicaHost;
  }

  /** @param replicaHost An IP address. */
  static async open(replicaPort: number, replicaHost = LOOPBACK): Promise<UdpProxy> {
    return new UdpProxy(await UdpTransport.open({ host: LOOPBACK, port: 0 }), replicaPort, replicaHost);
  }

  start(handler: UdpProxyHandler): void {
    this.#public.start({
      onDatagram: (datagram, host, port) => this.#flowHandlerOf(handler, host, port)?.toReplica(datagram),
      onSent: () => {},
    });
  }

  /** Where everybody is to send. */
  get port(): number {
    return this.#public.port;
  }

  async close(): Promise<void> {
    const flows = [...this.#flows.values()];
    for (const { handler } of flows) handler.close?.();
    await Promise.all([this.#public.close(), ...flows.map(({ flow }) => flow.close())]);
  }

  #flowHandlerOf(handler: UdpProxyHandler, host: string, port: number): FlowHandler | undefined {
    const name = `${host} ${port}`;
    const known = this.#flows.get(name);
    if (known !== undefined) return known.handler;
    if (this.#flows.size >= FLOWS_MAX) {
      handler.onRefused?.();
      return undefined;
    }
    const flow = new Flow(this.#replicaHost, this.#replicaPort, (datagram) => {
      this.#public.send(TOKEN, datagram, datagram.length, host, port);
    });
    const flowHandler = handler.onPeer(flow);
    flow.open((datagram) => flowHandler.toPeer(datagram));
    this.#flows.set(name, { flow, handler: flowHandler });
    return flowHandler;
  }
}

export class Flow {
  readonly sendToPeer: (datagram: Uint8Array) => void;
  readonly #replicaHost: string;
  readonly #replicaPort: number;
  #early: Uint8Array[] = [];
  #opening: Promise<UdpTransport | undefined> = Promise.resolve(undefined);
  #transport: UdpTransport | undefined;

  constructor(replicaHost: string, replicaPort: number, sendToPeer: (datagram: Uint8Array) => void) {
    this.#replicaHost = replicaHost;
    this.#replicaPort = replicaPort;
    this.sendToPeer = sendToPeer;
  }

  open(onDatagram: (datagram: Uint8Array) => void): void {
    const anyAddress = this.#replicaHost.includes(':') ? '::' : '0.0.0.0';
    const host = isLoopback(this.#replicaHost) ? this.#replicaHost : anyAddress;
    this.#opening = UdpTransport.open({ host, port: 0 }).then(
      (transport) => {
        transport.start({ onDatagram, onSent: () => {} });
        this.#transport = transport;
        for (const datagram of this.#early) this.sendToReplica(datagram);
        this.#early = [];
        return transport;
      },
      // No socket to be had: the flow loses all, as networks do.
      () => undefined,
    );
  }

  /** False when too much waits for its socket: the datagram is lost. */
  sendToReplica(datagram: Uint8Array): boolean {
    if (this.#transport !== undefined) {
      this.#transport.send(TOKEN, datagram, datagram.length, this.#replicaHost, this.#replicaPort);
    } else if (this.#early.length < EARLY_DATAGRAMS_MAX) {
      this.#early.push(datagram);
    } else {
      return false;
    }
    return true;
  }

  async close(): Promise<void> {
    await (await this.#opening)?.close();
  }
}
