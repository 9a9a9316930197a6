import { closeSync, createReadStream, createWriteStream, openSync, writeSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/**
 * The history of a run for a linearizability check: one JSON line an operation, load phase included. Each client
 * writes its own part, in the order in which its operations ended; the parent puts the parts together. `process` is the
 * client's index: a process is what checkers call whoever acts by itself.
 *
 *     {"process":0,"op":"put","key":"user…","value":"0-17","start":1200,"end":98000,"outcome":"ok"}
 *
 * start and end are nanoseconds of one monotonic clock since the run's start. A value is named by the id of the put
 * that wrote it. A get's null value means absent. An end of null goes with the outcome "unknown": the put may have taken
 * effect, may still do so, or never will. "error": certainly no effect (a put), or nothing read (a get).
 */
export interface HistorySink {
  /** Nanoseconds since the run's start. */
  nowNs(): number;
  /**
   * @param endNs Null exactly when the outcome is unknown.
   * @param rest Of read-modify-writes and of gets before them.
   */
  record(
    op: HistoryOp,
    key: string,
    value: string | null,
    startNs: number,
    endNs: number | null,
    outcome: HistoryOutcome,
    rest?: HistoryRest,
  ): void;
}

export type HistoryOp = 'get' | 'put' | 'cas' | 'incr';

/** Mismatch: of a read-modify-write, what it found did not allow it. */
export type HistoryOutcome = 'ok' | 'mismatch' | 'unknown' | 'error';

/** Fields of some operations only (docs/checking.md). */
export interface HistoryRest {
  readonly version?: string;
  readonly expected?: { readonly version: string };
  readonly delta?: string;
  readonly found?: string | null;
}

/** Lines are gathered up to this size: a system call a line would cost more than the operation. */
const BUFFER_CHARS = 256 * 1024;

export class HistoryWriter implements HistorySink {
  readonly #file: number;
  readonly #clientIndex: number;
  readonly #originNs: bigint;
  #lines = '';

  /**
   * @param originNs process.hrtime.bigint() of the parent at the run's start. That clock is CLOCK_MONOTONIC, one for all
   * processes of a machine.
   */
  constructor(path: string, clientIndex: number, originNs: bigint) {
    this.#file = openSync(path, 'w');
    this.#clientIndex = clientIndex;
    this.#originNs = originNs;
  }

  nowNs(): number {
    return Number(process.hrtime.bigint() - this.#originNs);
  }

  record(
    op: HistoryOp,
    key: string,
    value: string | null,
    startNs: number,
    endNs: number | null,
    outcome: HistoryOutcome,
    rest?: HistoryRest,
  ): void {
    // Keys and ids are letters, digits and hyphens, so that nothing needs escaping.
    const valueText = value === null ? 'null' : `"${value}"`;
    const restText = rest === undefined ? '' : `,${JSON.stringify(rest).slice(1, -1)}`;
    this.#lines += `{"process":${this.#clientIndex},"op":"${op}","key":"${key}","value":${valueText},"start":${startNs},"end":${endNs},"outcome":"${outcome}"${restText}}\n`;
    if (this.#lines.length >= BUFFER_CHARS) this.flush();
  }

  flush(): void {
    const bytes = Buffer.from(this.#lines, 'latin1');
    this.#lines = '';
    for (let written = 0; written < bytes.length; ) written += writeSync(this.#file, bytes, written);
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}

/** Writes the parts one after the other to path. */
export async function mergeHistory(partPaths: readonly string[], path: string): Promise<void> {
  closeSync(openSync(path, 'w'));
  for (const partPath of partPaths) {
    await pipeline(createReadStream(partPath), createWriteStream(path, { flags: 'a' }));
  }
}
