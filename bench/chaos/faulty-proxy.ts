import { Random } from '../random.ts';
import { FLOWS_MAX, UdpProxy } from '../udp-proxy.ts';
import type { Flow, FlowHandler } from '../udp-proxy.ts';
import { CALM, FaultyChannel, noCounts } from './faulty-channel.ts';
import type { ChannelCounters, Conditions } from './faulty-channel.ts';
import type { Direction } from './faults.ts';

/** The network in front of one replica, as a port forwarder with bad manners: a faulty channel each way for each peer. */
export interface FaultyProxyOptions {
  readonly replicaPort: number;
  readonly seed: number;
  /** Proxies of one seed differ in it. */
  readonly index: number;
}

/** Away from the streams of load processes, which have the same seed. */
const STREAM_BASE = 0x4000_0000;

export class FaultyProxy {
  readonly #proxy: UdpProxy;
  readonly #seed: number;
  /** Of the next peer's channel in; the one behind it is for the channel out. */
  #nextStream: number;
  readonly #conditions: Record<Direction, Conditions> = { in: CALM, out: CALM };
  readonly counters: Readonly<Record<Direction, ChannelCounters>> = { in: noCounts(), out: noCounts() };

  private constructor({ seed, index }: FaultyProxyOptions, proxy: UdpProxy) {
    this.#proxy = proxy;
    this.#seed = seed;
    this.#nextStream = STREAM_BASE + 2 * index * FLOWS_MAX;
    proxy.start({
      onPeer: (flow) => this.#handlerOf(flow),
      onRefused: () => {
        this.counters.in.received++;
        this.counters.in.overflowed++;
      },
    });
  }

  static async open(options: FaultyProxyOptions): Promise<FaultyProxy> {
    return new FaultyProxy(options, await UdpProxy.open(options.replicaPort));
  }

  /** Where everybody is to send. */
  get port(): number {
    return this.#proxy.port;
  }

  set(direction: Direction, conditions: Conditions): void {
    this.#conditions[direction] = conditions;
  }

  async close(): Promise<void> {
    await this.#proxy.close();
  }

  #handlerOf(flow: Flow): FlowHandler {
    const inward = this.#channel('in', (datagram) => {
      if (!flow.sendToReplica(datagram)) this.counters.in.overflowed++;
    });
    const outward = this.#channel('out', flow.sendToPeer);
    return {
      toReplica: (datagram) => inward.pass(datagram),
      toPeer: (datagram) => outward.pass(datagram),
      close: () => {
        inward.close();
        outward.close();
      },
    };
  }

  #channel(direction: Direction, deliver: (datagram: Uint8Array) => void): FaultyChannel {
    return new FaultyChannel({
      conditions: () => this.#conditions[direction],
      random: new Random(this.#seed, this.#nextStream++),
      counters: this.counters[direction],
      deliver,
    });
  }
}
