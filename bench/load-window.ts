import { assert } from '../net/assert.ts';
import { LatencyHistogram } from './histogram.ts';
import { OPERATION_TYPES } from './workload.ts';
import type { OperationType } from './workload.ts';

/** What succeeded in a window, with the latencies of each type; those of read and update hold the halves of pairs too. */
export interface LoadWindow extends Readonly<Record<OperationType, LatencyHistogram>> {
  readonly windowMs: number;
  /** A read-modify-write is one. */
  readonly operations: number;
  /** Bytes of values that gets returned, and that puts wrote (once, however many replicas took them). */
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Compare-and-sets that met another version, and were tried again. */
  readonly conflicts: number;
}

/** Types by number, for the measured path. */
export const READ = 0;
export const UPDATE = 1;
export const INSERT = 2;
export const RMW = 3;
export const SCAN = 4;
assert(
  [READ, UPDATE, INSERT, RMW, SCAN].map((type) => OPERATION_TYPES[type]).join() === 'read,update,insert,rmw,scan',
  'a number is the index of its type',
);

/** Counts and times while a window is open. */
export class WindowMeter {
  #isOpen = false;
  #startMs = 0;
  #operations = 0;
  #readBytes = 0;
  #writtenBytes = 0;
  #conflicts = 0;
  #latencies = newLatencies();

  begin(nowMs: number): void {
    this.#startMs = nowMs;
    this.#operations = 0;
    this.#readBytes = 0;
    this.#writtenBytes = 0;
    this.#conflicts = 0;
    this.#latencies = newLatencies();
    this.#isOpen = true;
  }

  end(nowMs: number): LoadWindow {
    assert(this.#isOpen, 'a window is ended once');
    this.#isOpen = false;
    const [read, update, insert, rmw, scan] = this.#latencies;
    return {
      windowMs: nowMs - this.#startMs,
      operations: this.#operations,
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
      conflicts: this.#conflicts,
      read,
      update,
      insert,
      rmw,
      scan,
    };
  }

  /** A get or a scan returned values, or a put wrote one. */
  valueMoved(isGet: boolean, valueBytes: number): void {
    if (!this.#isOpen) return;
    if (isGet) this.#readBytes += valueBytes;
    else this.#writtenBytes += valueBytes;
  }

  conflictMet(): void {
    if (this.#isOpen) this.#conflicts++;
  }

  /** An operation ended well. */
  operationEnded(type: number, latencyMs: number): void {
    if (!this.#isOpen) return;
    this.#operations++;
    this.#latencies[type]!.recordMs(latencyMs);
  }

  /** Half of one did. */
  halfEnded(type: number, latencyMs: number): void {
    if (this.#isOpen) this.#latencies[type]!.recordMs(latencyMs);
  }
}

type Latencies = [LatencyHistogram, LatencyHistogram, LatencyHistogram, LatencyHistogram, LatencyHistogram];

function newLatencies(): Latencies {
  const of = (): LatencyHistogram => new LatencyHistogram();
  return [of(), of(), of(), of(), of()];
}
