import { UdpTransport } from '../../net/udp.ts';
import { Random } from '../random.ts';
import { CALM, FaultyChannel, noCounts } from './faulty-channel.ts';
import type { ChannelCounters, Conditions } from './faulty-channel.ts';
import type { Direction } from './faults.ts';

/**
 * The network in front of one replica, as a port forwarder with bad manners. Everybody else sends to its public port;
 * each of them has a flow: a socket of its own towards the replica, so that the replica tells them apart and both ends
 * always see one address of the other.
 *
 *     peer <-> public port | flow of this peer: channel in, channel out | flow's port <-> replica
 */
export interface UdpProxyOptions {
  readonly replicaPort: number;
  readonly seed: number;
  /** Proxies of one seed differ in it. */
  readonly index: number;
}

const HOST = '127.0.0.1';
/** Buffers are not used again, so that one token does for all. */
const TOKEN = 0;
/** Load processes (64) and replicas (7) are fewer; anyone else on this machine who sends here is not let through. */
const FLOWS_MAX = 128;
/** What comes before a flow's socket is open. */
const EARLY_DATAGRAMS_MAX = 64;
/** Away from the streams of load processes, which have the same seed. */
const STREAM_BASE = 0x4000_0000;

export class UdpProxy {
  readonly #options: UdpProxyOptions;
  readonly #public: UdpTransport;
  /** By the peer's address. */
  readonly #flows = new Map<string, Flow>();
  readonly #conditions: Record<Direction, Conditions> = { in: CALM, out: CALM };
  readonly counters: Readonly<Record<Direction, ChannelCounters>> = { in: noCounts(), out: noCounts() };

  private constructor(options: UdpProxyOptions, publicSide: UdpTransport) {
    this.#options = options;
    this.#public = publicSide;
    publicSide.start({
      onDatagram: (datagram, host, port) => this.#flowOf(host, port)?.in.pass(datagram),
      onSent: () => {},
    });
  }

  static async open(options: UdpProxyOptions): Promise<UdpProxy> {
    return new UdpProxy(options, await UdpTransport.open({ host: HOST, port: 0 }));
  }

  /** Where everybody is to send. */
  get port(): number {
    return this.#public.port;
  }

  set(direction: Direction, conditions: Conditions): void {
    this.#conditions[direction] = conditions;
  }

  async close(): Promise<void> {
    await Promise.all([this.#public.close(), ...[...this.#flows.values()].map((flow) => flow.close())]);
  }

  #flowOf(host: string, port: number): Flow | undefined {
    const name = `${host} ${port}`;
    const known = this.#flows.get(name);
    if (known !== undefined) return known;
    if (this.#flows.size >= FLOWS_MAX) {
      this.counters.in.received++;
      this.counters.in.overflowed++;
      return undefined;
    }
    const flow = this.#newFlow(host, port);
    this.#flows.set(name, flow);
    return flow;
  }

  #newFlow(host: string, port: number): Flow {
    const { seed, index, replicaPort } = this.#options;
    const stream = STREAM_BASE + 2 * (index * FLOWS_MAX + this.#flows.size);
    const socket = new FlowSocket(replicaPort, this.counters.in);
    const inward = new FaultyChannel({
      conditions: () => this.#conditions.in,
      random: new Random(seed, stream),
      counters: this.counters.in,
      deliver: (datagram) => socket.send(datagram),
    });
    const outward = new FaultyChannel({
      conditions: () => this.#conditions.out,
      random: new Random(seed, stream + 1),
      counters: this.counters.out,
      deliver: (datagram) => this.#public.send(TOKEN, datagram, datagram.length, host, port),
    });
    socket.open((datagram) => outward.pass(datagram));
    const close = async (): Promise<void> => {
      inward.close();
      outward.close();
      await socket.close();
    };
    return { in: inward, close };
  }
}

interface Flow {
  readonly in: FaultyChannel;
  close(): Promise<void>;
}

/** A flow's side of the replica; it takes datagrams before it is open. */
class FlowSocket {
  readonly #replicaPort: number;
  readonly #counters: ChannelCounters;
  #early: Uint8Array[] = [];
  #opening: Promise<UdpTransport | undefined> = Promise.resolve(undefined);
  #transport: UdpTransport | undefined;

  constructor(replicaPort: number, counters: ChannelCounters) {
    this.#replicaPort = replicaPort;
    this.#counters = counters;
  }

  open(onDatagram: (datagram: Uint8Array) => void): void {
    this.#opening = UdpTransport.open({ host: HOST, port: 0 }).then(
      (transport) => {
        transport.start({ onDatagram, onSent: () => {} });
        this.#transport = transport;
        for (const datagram of this.#early) this.send(datagram);
        this.#early = [];
        return transport;
      },
      // No socket to be had: the flow loses all, as networks do.
      () => undefined,
    );
  }

  send(datagram: Uint8Array): void {
    if (this.#transport !== undefined) {
      this.#transport.send(TOKEN, datagram, datagram.length, HOST, this.#replicaPort);
    } else if (this.#early.length < EARLY_DATAGRAMS_MAX) {
      this.#early.push(datagram);
    } else {
      this.#counters.overflowed++;
    }
  }

  async close(): Promise<void> {
    await (await this.#opening)?.close();
  }
}
