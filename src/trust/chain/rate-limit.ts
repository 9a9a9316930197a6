import { addressBlock } from '../../../net/address-block.ts';
import { TokenBucket } from '../../../net/token-bucket.ts';

/** How often one host may ask a service: so many times at once after a rest, and so many in a second. */
export interface RateLimitOptions {
  readonly perSecond: number;
}

/** So many hosts may be over their rate at once; what is more is refused until some of them rest. */
const HOSTS_MAX = 8_192;
const INTERVAL_MS = 1_000;

export class RateLimit {
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { readonly bucket: TokenBucket; usedMs: number }>();

  constructor({ perSecond }: RateLimitOptions) {
    this.#perSecond = perSecond;
  }

  /** False when the host has used up its rate. */
  take(address: string, nowMs: number): boolean {
    const host = addressBlock(address);
    let entry = this.#buckets.get(host);
    if (entry === undefined) {
      if (this.#buckets.size >= HOSTS_MAX) this.#forget(nowMs);
      if (this.#buckets.size >= HOSTS_MAX) return false;
      entry = { bucket: new TokenBucket(this.#perSecond, INTERVAL_MS), usedMs: nowMs };
      this.#buckets.set(host, entry);
    }
    entry.usedMs = nowMs;
    return entry.bucket.take(nowMs);
  }

  /** A bucket that rested for an interval is full, and as good as none. */
  #forget(nowMs: number): void {
    for (const [host, { usedMs }] of this.#buckets) {
      if (nowMs - usedMs >= INTERVAL_MS) this.#buckets.delete(host);
    }
  }
}
