import { addressBlock } from './address-block.ts';
import { assert } from './assert.ts';
import { HALF_OPEN_MAX, HALF_OPEN_PER_HOST_MAX } from './limits.ts';
import type { Session } from './session.ts';

/**
 * Sessions whose message 2 was sent and whose first data packet is awaited. Message 1 can be replayed, so one and the
 * same gets the same answer again, without another Diffie-Hellman or place; and no host holds more than its share, so
 * that whoever floods pushes out its own.
 */
interface HalfOpen<P> {
  readonly session: Session<P>;
  /** Of the session's host. */
  readonly block: string;
  /** Message 1's first bytes: the initiator's ephemeral key, in plaintext its static key. Hex. */
  readonly ephemeral: string;
  readonly response: Uint8Array;
}

export class HalfOpenSessions<P> {
  /** Oldest first. */
  readonly #all: HalfOpen<P>[] = [];

  get count(): number {
    return this.#all.length;
  }

  /** The answer that this message 1 got before, from this address. */
  responseTo(ephemeral: string, host: string, port: number): Uint8Array | undefined {
    return this.#all.find(
      (entry) => entry.ephemeral === ephemeral && entry.session.host === host && entry.session.port === port,
    )?.response;
  }

  add(session: Session<P>, ephemeral: string, response: Uint8Array): void {
    assert(this.#all.length < HALF_OPEN_MAX, 'room is made before a half-open session is added');
    this.#all.push({ session, block: addressBlock(session.host), ephemeral, response });
  }

  remove(session: Session<P>): void {
    const index = this.#all.findIndex((entry) => entry.session === session);
    assert(index !== -1, 'a half-open session is removed once');
    this.#all.splice(index, 1);
  }

  /** The session that must go before another of this host may come; undefined when there is room. */
  surplusFor(host: string): Session<P> | undefined {
    const counts = new Map<string, number>();
    for (const { block } of this.#all) counts.set(block, (counts.get(block) ?? 0) + 1);
    const own = addressBlock(host);
    if ((counts.get(own) ?? 0) >= HALF_OPEN_PER_HOST_MAX) return this.#oldestOf(own);
    if (this.#all.length < HALF_OPEN_MAX) return undefined;
    const [busiest] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    return this.#oldestOf(busiest);
  }

  #oldestOf(block: string): Session<P> | undefined {
    return this.#all.find((entry) => entry.block === block)?.session;
  }
}
