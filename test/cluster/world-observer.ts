import type { DropCounters, DropReason } from '../../net/drops.ts';
import { RENEW_AFTER_MS } from '../../net/limits.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Session } from '../../net/session.ts';
import {
  HINT_REASONS,
  KIND_COOKIE,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  MAC_BYTES,
  OFFSET_KIND,
  OFFSET_REASON,
} from '../../net/wire.ts';
import { Coverage } from './coverage.ts';
import type { ProtocolRule } from './coverage-names.ts';
import type { Address, LossyNetwork } from './lossy-network.ts';
import { nameOf } from './lossy-network.ts';
import type { Message } from './messages-seen.ts';
import { describe, nameOfType } from './messages-seen.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import type { SimulatedTime } from './simulated-time.ts';

/**
 * Looks at a simulated world from outside and counts what came to bear, without any hook in the product: datagrams on
 * the network, messages before they are sealed and after they were opened, drop counters, handshakes. Tells it to a
 * trace when there is one.
 */
export class WorldObserver {
  readonly coverage = new Coverage();
  /** Told of messages when they reach a process. */
  onReceived: (processName: string, messages: readonly Message[]) => void = () => {};
  /** Told of messages when they leave for another process. */
  onPassing: (from: Address, to: Address, messages: readonly Message[]) => void = () => {};
  /** Told when a replica has just voted for an instance. */
  onVoted: (replicaName: string) => void = () => {};
  /** Datagrams that found a receive buffer full. */
  overrunCount = 0;
  readonly #time: SimulatedTime;
  readonly #trace: string[] | undefined;
  readonly #names = new Map<string, string>();
  /** Handshake datagrams that have passed, so that repeated ones are known. */
  readonly #passed = new Set<string>();

  /** @param trace Takes a line for each datagram and message; undefined where nobody reads it. */
  constructor(time: SimulatedTime, trace: string[] | undefined) {
    this.#time = time;
    this.#trace = trace;
  }

  get isTraced(): boolean {
    return this.#trace !== undefined;
  }

  tell(text: string): void {
    this.#trace?.push(`${this.#time.nowMs.toFixed(3)} ms: ${text}`);
  }

  rule(rule: ProtocolRule, count = 1): void {
    if (count > 0) this.coverage.rules.add(rule, count);
  }

  // -- network ----------------------------------------------------------------------------------------------------

  watchNetwork(network: LossyNetwork): void {
    network.onPassing = (from, to, datagram, messages) => this.#onPassing(from, to, datagram, messages);
    if (!this.isTraced) return;
    network.onFate = ({ from, to, datagram }, fate) => {
      this.tell(`${this.#nameOf(from)} -> ${this.#nameOf(to)}: ${titleOf(datagram)} ${fate}`);
    };
  }

  #onPassing(from: Address, to: Address, datagram: Uint8Array, messages: readonly Message[]): void {
    const { messages: kinds } = this.coverage;
    if (messages.length > 0) this.onPassing(from, to, messages);
    switch (datagram[OFFSET_KIND] ?? 0) {
      case KIND_DATA:
        if (messages.length === 0) kinds.add('DATA without messages');
        for (const { type } of messages) {
          const name = nameOfType(type);
          if (name !== undefined) kinds.add(name);
        }
        break;
      case KIND_REQUEST:
        kinds.add('REQUEST');
        if (this.#isRepeated(from, to, datagram.subarray(0, -2 * MAC_BYTES))) this.rule('message 1 repeated');
        if (datagram.subarray(-MAC_BYTES).some((byte) => byte !== 0)) this.rule('message 1 with a cookie');
        break;
      case KIND_RESPONSE:
        kinds.add('RESPONSE');
        if (this.#isRepeated(from, to, datagram)) this.rule('repeated message 1 gets the same answer');
        break;
      case KIND_COOKIE:
        kinds.add('COOKIE');
        break;
      case KIND_HINT: {
        const reason = HINT_REASONS[datagram[OFFSET_REASON]!];
        if (reason !== undefined) kinds.add(`HINT ${reason}`);
        break;
      }
      default:
        break;
    }
    if (!this.isTraced) return;
    const texts = messages.map(describe).join(' | ');
    this.tell(`${this.#nameOf(from)} -> ${this.#nameOf(to)}: ${titleOf(datagram)}${texts === '' ? '' : `: ${texts}`}`);
  }

  #isRepeated(from: Address, to: Address, bytes: Uint8Array): boolean {
    const name = `${nameOf(from)}>${nameOf(to)} ${Buffer.from(bytes).toString('latin1')}`;
    if (this.#passed.has(name)) return true;
    this.#passed.add(name);
    return false;
  }

  // -- processes --------------------------------------------------------------------------------------------------

  watchProcess(name: string, process: SimulatedProcess): void {
    const { faults } = this.coverage;
    this.#names.set(nameOf(process), name);
    process.observer = {
      onSendFailed: () => {
        faults.add('sending fails');
        this.tell(`${name}: sending fails`);
      },
      onOverrun: () => {
        this.overrunCount++;
        faults.add('receive buffer overrun');
        this.tell(`${name}: receive buffer overrun`);
      },
      onReceived: (messages) => this.onReceived(name, messages),
    };
  }

  /** The counters count on; the world counts with them. */
  watchDrops(name: string, drops: DropCounters): void {
    const count = drops.count.bind(drops);
    drops.count = (reason: DropReason) => {
      this.coverage.drops.add(reason);
      if (this.isTraced) this.tell(`${name} drops: ${reason}`);
      count(reason);
    };
  }

  /** Handshakes as an initiator sees them. `sessionsWith` gives its sessions with the holder of a static key. */
  watchHandshakes(
    name: string,
    crypto: HandshakeCrypto,
    nowMs: () => number,
    sessionsWith: (staticKey: Uint8Array) => Session<unknown>[],
  ): HandshakeCrypto {
    return {
      ...crypto,
      initiate: (responderStaticKey, prologue, payload) => {
        const initiator = crypto.initiate(responderStaticKey, prologue, payload);
        return {
          message: initiator.message,
          erase: () => initiator.erase(),
          finish: (message) => {
            const finished = initiator.finish(message);
            if (finished === undefined) return undefined;
            const earlier = sessionsWith(responderStaticKey).filter(
              ({ initiator: own, state }) => own && state === 'live',
            );
            const isDue = earlier.some(({ createdMs }) => nowMs() - createdMs >= RENEW_AFTER_MS);
            const rule = isDue ? 'session renewed for age' : 'session renewed after silence';
            this.rule(earlier.length === 0 ? 'session made' : rule);
            if (this.isTraced) this.tell(`${name}: ${earlier.length === 0 ? 'session made' : rule}`);
            return finished;
          },
        };
      },
    };
  }

  #nameOf(address: Address): string {
    return this.#names.get(nameOf(address)) ?? nameOf(address);
  }
}

const KIND_NAMES = ['kind 0', 'DATA', 'REQUEST', 'RESPONSE', 'COOKIE', 'HINT'];

/** What header and length tell in clear: "DATA #17 to session 4097, 96 B". */
function titleOf(datagram: Uint8Array): string {
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
  const name = KIND_NAMES[bytes[OFFSET_KIND] ?? 0] ?? `kind ${bytes[OFFSET_KIND]}`;
  if (bytes.length < 16 || name !== 'DATA') return `${name} ${bytes.length} B`;
  return `${name} #${bytes.readUInt32LE(8)} to session ${bytes.readUInt32LE(4)}, ${bytes.length} B`;
}
