import type { CompareReport } from '../bench/compare-report.ts';
import type { RunResult } from '../bench/result.ts';
import type { SecurityMode } from '../net/mode.ts';

/** What was measured for the README, as Markdown. */
export interface Figures {
  readonly date: Date;
  readonly commit: string;
  readonly rounds: number;
  readonly durationS: number;
  readonly mixed: readonly { readonly recordCount: number; readonly report: CompareReport }[];
  readonly updates: readonly { readonly recordCount: number; readonly run: RunResult }[];
  /** YCSB D and F, with the bench's default of records. */
  readonly latest: RunResult;
  readonly readModifyWrites: RunResult;
  /** Workload C, one operation outstanding. */
  readonly alone: CompareReport;
}

const WORKLOADS = [
  ['A', 'A, 50 % reads'],
  ['B', 'B, 95 % reads'],
  ['C', 'C, 100 % reads'],
] as const;

export function figuresPage(figures: Figures): string {
  const { machine } = figures.alone;
  const head =
    `${machine.cores} cores (${machine.cpuModel}), Node ${machine.nodeVersion.replace('v', '')}, ` +
    `${figures.date.toISOString().slice(0, 10)}, commit ${figures.commit}: ` +
    `medians of ${figures.rounds} interleaved rounds of ${figures.durationS} s, and single runs of as long.`;
  return [head, mixedTable(figures), otherTable(figures), calibrationTable(figures)].join('\n\n').concat('\n');
}

function mixedTable({ mixed }: Figures): string {
  const rows = mixed.flatMap(({ recordCount, report }) =>
    WORKLOADS.map(([name, description]) => {
      const of = (mode: SecurityMode): RunResult => runOf(report, name, mode);
      const { median, min, max } = report.ratios.find(
        ({ mode, workload }) => mode === 'secure' && workload === name,
      )!.opsPerSec;
      const [secure, plaintext] = [of('secure'), of('plaintext')];
      const cpuUs =
        secure.cpuUsPerOp.replicas === null ? Number.NaN : secure.cpuUsPerOp.replicas + secure.cpuUsPerOp.clients;
      return [
        description,
        whole(recordCount),
        rate(secure),
        rate(of('authenticated')),
        rate(plaintext),
        `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
        cpuUs.toFixed(1),
        readLatency(secure),
        readLatency(plaintext),
      ];
    }),
  );
  return table(
    [
      'workload',
      'records',
      'secure ops/s',
      'authenticated ops/s',
      'plaintext ops/s',
      'secure / plaintext',
      'secure CPU an operation, µs',
      'secure read p50 / p99, µs',
      'plaintext read p50 / p99, µs',
    ],
    rows,
  );
}

function otherTable({ updates, latest, readModifyWrites, alone, mixed }: Figures): string {
  const p50 = (mode: SecurityMode): string => whole(runOf(alone, 'C', mode).latencyUs.read!.p50);
  return table(
    ['', ...mixed.map(({ recordCount }) => `${whole(recordCount)} records`)],
    [
      ['updates only, secure', ...updates.map(({ run }) => `${rate(run)} ops/s`)],
      ['D, reads of the latest, secure', '', `${rate(latest)} ops/s`],
      ['F, read-modify-writes (a get and a put each), secure', '', `${rate(readModifyWrites)} ops/s`],
      ['one outstanding: get p50, secure / plaintext', `${p50('secure')} / ${p50('plaintext')} µs`, ''],
    ],
  );
}

function calibrationTable({ mixed, alone }: Figures): string {
  const all = [...mixed.map(({ report }) => report), alone].map(({ calibration }) => calibration);
  const range = (values: readonly number[], round: number): string => {
    const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => whole(value, round));
    return low === high ? low! : `${low} to ${high}`;
  };
  return table(
    ['calibration of the same runs', ''],
    [
      [
        'raw UDP echo p50',
        `${range(
          all.map(({ echoUs }) => echoUs.p50),
          1,
        )} µs`,
      ],
      [
        'datagrams of 256 bytes a second',
        range(
          all.map(({ datagramsPerSec }) => datagramsPerSec.sent),
          1_000,
        ),
      ],
      [
        'AEAD calls a second, 256 bytes',
        range(
          all.map(({ aeadCallsPerSec }) => aeadCallsPerSec),
          10_000,
        ),
      ],
    ],
  );
}

function runOf(report: CompareReport, workload: string, mode: SecurityMode): RunResult {
  const run = report.runs.find((candidate) => candidate.workload === workload && candidate.mode === mode);
  if (run === undefined) throw new Error(`the bench reported no workload ${workload} in mode ${mode}`);
  return run;
}

/** Three digits are more than two runs have in common. */
function rate({ opsPerSec }: RunResult): string {
  return whole(opsPerSec, 1_000);
}

function readLatency({ latencyUs: { read } }: RunResult): string {
  return read === undefined ? '' : `${whole(read.p50)} / ${whole(read.p99)}`;
}

function whole(value: number, round = 1): string {
  return (Math.round(value / round) * round).toLocaleString('en-US');
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `|${cells.map((cell) => (cell === '' ? ' ' : ` ${cell} `)).join('|')}|`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}
