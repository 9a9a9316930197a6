import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64 } from 'hdr-histogram-js';
import type { Histogram } from 'hdr-histogram-js';

/** Latencies in microseconds, by hdr-histogram-js: the one file that imports it. */

/** Below a microsecond nothing is told apart; a minute is longer than any deadline of the bench. */
const LATENCY_US_MIN = 1;
const LATENCY_US_MAX = 60_000_000;
/** Three digits: a value is off by a thousandth at most. */
const SIGNIFICANT_DIGITS = 3;

export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Latencies below this are counted in a plain array first: recording in the histogram costs 0.2 µs, 5 % of an operation. */
const DIRECT_US_MAX = 16_384;

export class LatencyHistogram {
  readonly #histogram: Histogram;
  readonly #direct = new Int32Array(DIRECT_US_MAX);
  #directCount = 0;

  constructor() {
    this.#histogram = build({
      lowestDiscernibleValue: LATENCY_US_MIN,
      highestTrackableValue: LATENCY_US_MAX,
      numberOfSignificantValueDigits: SIGNIFICANT_DIGITS,
      bitBucketSize: 32,
      autoResize: false,
    });
  }

  recordMs(latencyMs: number): void {
    const latencyUs = Math.max(Math.round(latencyMs * 1_000), LATENCY_US_MIN);
    if (latencyUs < DIRECT_US_MAX) {
      this.#direct[latencyUs]!++;
      this.#directCount++;
    } else {
      this.#histogram.recordValue(Math.min(latencyUs, LATENCY_US_MAX));
    }
  }

  add(other: LatencyHistogram): void {
    this.#histogram.add(other.#whole());
  }

  get count(): number {
    return this.#histogram.totalCount + this.#directCount;
  }

  /** For the way to another process; addEncoded takes it in there. */
  encode(): string {
    return encodeIntoCompressedBase64(this.#whole());
  }

  addEncoded(encoded: string): void {
    this.#histogram.add(decodeFromCompressedBase64(encoded));
  }

  /** Undefined when nothing was recorded. */
  summary(): LatencySummary | undefined {
    const histogram = this.#whole();
    if (histogram.totalCount === 0) return undefined;
    return {
      count: histogram.totalCount,
      p50: histogram.getValueAtPercentile(50),
      p95: histogram.getValueAtPercentile(95),
      p99: histogram.getValueAtPercentile(99),
      p999: histogram.getValueAtPercentile(99.9),
      // Not maxValue, which is exact until it has been encoded: a figure must not depend on how many processes there were.
      max: histogram.getValueAtPercentile(100),
    };
  }

  /** The histogram with all that was recorded. */
  #whole(): Histogram {
    if (this.#directCount > 0) {
      this.#direct.forEach((times, latencyUs) => {
        if (times > 0) this.#histogram.recordValueWithCount(latencyUs, times);
      });
      this.#direct.fill(0);
      this.#directCount = 0;
    }
    return this.#histogram;
  }
}
