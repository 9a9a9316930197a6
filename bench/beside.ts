import { parseBytes } from '../src/cli/bytes.ts';
import type { LoadSettings } from './load-options.ts';
import { alignColumns, count, decimals, megabytes } from './report-text.ts';
import type { RunResult } from './result.ts';
import { workloadOf, workloadOfProportion } from './workload.ts';
import type { Workload } from './workload.ts';

/**
 * A stream beside the load: one more client, in a process and on records of its own, that only puts or only gets values of
 * one size. How much the load's operations have to wait for it is what `avocado bench --beside` is for.
 */
export interface Stream {
  readonly kind: 'get' | 'put';
  readonly valueBytes: number;
  readonly outstanding: number;
}

/** What the load and the stream did at the same time, and the load alone just before. */
export interface BesideResult {
  readonly stream: Stream;
  readonly alone: RunResult;
  readonly streamed: RunResult;
}

/** Records of the stream: as many, so that its operations seldom meet on one. */
const STREAM_RECORDS = 64;
/** Their numbers begin far above those of any load, inserts included. */
export const STREAM_FIRST_RECORD = 2 ** 40;
const OUTSTANDING_MAX = 1_024;

/**
 * "put 1MiB x 4": kind, size, and how many are in flight at once (default: 1).
 * @returns The stream, or what is wrong with the text.
 */
export function parseStream(text: string, valueBytesMax: number): Stream | string {
  const match = /^(get|put) +(\S+)(?: +x *(\d+))?$/.exec(text.trim());
  if (match === null) return 'Give what, how large and how many at once, like "put 1MiB x 4".';
  const valueBytes = parseBytes(match[2]!);
  if (valueBytes === undefined || valueBytes < 1 || valueBytes > valueBytesMax) {
    return `Give a size like 64KiB, from 1 to ${valueBytesMax} bytes.`;
  }
  const outstanding = Number(match[3] ?? 1);
  if (outstanding < 1 || outstanding > OUTSTANDING_MAX) return `Give 1 to ${OUTSTANDING_MAX} at once.`;
  return { kind: match[1] === 'get' ? 'get' : 'put', valueBytes, outstanding };
}

export function describeStream({ kind, valueBytes, outstanding }: Stream): string {
  return `${kind}s of ${count(valueBytes)} bytes, ${outstanding} at once`;
}

/** The load's, but for what the stream says itself. */
export function streamSettings(settings: LoadSettings, { valueBytes, outstanding }: Stream): LoadSettings {
  return {
    ...settings,
    records: STREAM_RECORDS,
    valueBytes,
    valueSizes: [{ valueBytes, weight: 1 }],
    fields: undefined,
    outstanding,
    clients: 1,
    processes: 1,
  };
}

export function streamWorkload({ kind }: Stream): Workload {
  return kind === 'get' ? workloadOf('C') : workloadOfProportion(0, workloadOf('A'));
}

/** @param run The load's, beside the stream. */
export function formatBeside({ stream, alone, streamed }: BesideResult, run: RunResult): string {
  const heading = ['', 'ops/s', 'bytes/s', 'read p50 µs', 'p99', 'update p50 µs', 'p99', 'errors'];
  const row = (name: string, { latencyUs: { read, update }, bytesPerSec, opsPerSec, errors }: RunResult): string[] => [
    name,
    count(opsPerSec),
    megabytes(bytesPerSec.read + bytesPerSec.written),
    ...[read?.p50, read?.p99, update?.p50, update?.p99].map((us) => (us === undefined ? '-' : count(us))),
    count(errors),
  ];
  const rows = [row('load alone', alone), row('load beside', run), row('stream', streamed)];
  const [before, beside] = [alone.latencyUs.read?.p99, run.latencyUs.read?.p99];
  const ratio =
    before === undefined || beside === undefined ? '' : `\n\nread p99 beside to alone  ${decimals(beside / before)}`;
  return `Beside a stream of ${describeStream(stream)}\n\n${alignColumns([heading, ...rows], 'right')}${ratio}`;
}
