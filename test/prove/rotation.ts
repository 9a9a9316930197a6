import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LoadWindow } from '../../bench/load-window.ts';
import type { CasDocument } from '../../src/trust/chain/messages.ts';
import { makeSandbox, runAvocado, startAvocado } from '../cli/avocado-process.ts';
import type { Sandbox } from '../cli/avocado-process.ts';
import { latenciesIn, WindowedLoad } from '../processes/windowed-load.ts';
import { MINUTE_MS, count, ms } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** A data key is rotated, with all that this takes, while a client reads and writes. */
const RECORDS = 30_000;
const QUICK_RECORDS = 6_000;
const OUTSTANDING = 64;
const READ_PROPORTION = 0.95;
/** CAS's default: most of a rotation is waiting for it. */
const REFRESH_SECONDS = 10;
const TIMES = { warmupMs: 2_000, beforeMs: 5_000, stepMs: 500 };
const ROTATION_MS_MAX = 3 * MINUTE_MS;

export const rotation: Proof = {
  name: 'rotation',
  subject: 'a data key is rotated under load',
  timeoutMs: 5 * MINUTE_MS,
  run: proveRotation,
};

async function proveRotation(context: ProofContext): Promise<ClaimResult[]> {
  const records = context.quick ? QUICK_RECORDS : RECORDS;
  const sandbox = makeSandbox();
  // CAS, LAS and replicas are no part of this process: what they do must not stop its clocks.
  const child = startAvocado(sandbox, ['dev', '--json']);
  let load: WindowedLoad | undefined;
  try {
    const cluster = await readyReport(child);
    load = await WindowedLoad.open({ clusterDirectory: cluster.directory, records, outstanding: OUTSTANDING });
    await load.fill();
    return [await rotate(context, cluster, sandbox, load, records)];
  } finally {
    await load?.close();
    child.kill('SIGINT');
    await once(child, 'close');
    sandbox.remove();
  }
}

/** What avocado dev says when it is up. */
interface DevCluster {
  readonly directory: string;
  readonly cas: string;
  readonly members: readonly object[];
}

async function readyReport(child: ChildProcess): Promise<DevCluster> {
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
  return JSON.parse(line) as DevCluster;
}

interface Sample {
  readonly atMs: number;
  readonly resealed: number;
  readonly destroyed: number;
}

async function rotate(
  context: ProofContext,
  cluster: DevCluster,
  sandbox: Sandbox,
  load: WindowedLoad,
  records: number,
): Promise<ClaimResult> {
  context.progress(`load on ${count(records)} records`);
  load.start(READ_PROPORTION);
  await load.windows(TIMES.warmupMs);
  const before = await load.windows(TIMES.beforeMs);
  context.progress('avocado cas rotate');
  const startedMs = performance.now();
  await cas(cluster, sandbox, ['rotate', '--operator-key', join(cluster.directory, 'operator.json')]);
  const during: LoadWindow[] = [];
  let sample = await sampleOf(load, startedMs);
  let first: Sample | undefined;
  let last: Sample | undefined;
  while (sample.destroyed < cluster.members.length && sample.atMs < ROTATION_MS_MAX) {
    const windows = await load.windows(TIMES.stepMs);
    const next = await sampleOf(load, startedMs);
    if (next.resealed > sample.resealed) {
      first ??= sample;
      last = next;
      during.push(...windows);
    }
    sample = next;
  }
  await load.drain();
  const { destroyedKeys } = (JSON.parse(await cas(cluster, sandbox, ['show', '--json'])) as { document: CasDocument })
    .document;
  const errors = Object.entries(load.errors).map(([kind, times]) => `${times} ${kind}`);
  const isGone = destroyedKeys.includes(1) && sample.destroyed === cluster.members.length;
  const [beforeUs, duringUs] = [before, during].map((windows) => latenciesIn(windows)?.p99 ?? Infinity);
  const seconds = ((last?.atMs ?? 0) - (first?.atMs ?? 0)) / 1_000;
  return {
    claim: 'a data key is rotated under load: no operation fails, and the old key is destroyed everywhere',
    ok: errors.length === 0 && isGone && sample.resealed > 0,
    figures:
      `${errors.join(', ') || 'no'} errors; ${count(sample.resealed)} values sealed anew in ${seconds.toFixed(1)} s, ` +
      `${count(sample.resealed / seconds)} a second; p99 ${ms(beforeUs!)} before, ${ms(duringUs!)} meanwhile ` +
      `(x ${(duringUs! / beforeUs!).toFixed(2)}); the old key is ${isGone ? 'gone' : 'still there'} ${(sample.atMs / 1_000).toFixed(1)} s after the command, ` +
      `with a look at CAS every ${REFRESH_SECONDS} s`,
    data: {
      errors: load.errors,
      resealed: sample.resealed,
      seconds,
      p99BeforeUs: beforeUs,
      p99MeanwhileUs: duringUs,
      rotationMs: sample.atMs,
      destroyedKeys,
    },
  };
}

async function sampleOf(load: WindowedLoad, startedMs: number): Promise<Sample> {
  const members = await load.engine.status(5_000);
  const figures = members.map(({ dataKeys }) => dataKeys);
  return {
    atMs: performance.now() - startedMs,
    resealed: figures.reduce((sum, dataKeys) => sum + (dataKeys?.resealed ?? 0), 0),
    destroyed: figures.filter((dataKeys) => (dataKeys?.destroyed ?? 0) > 0).length,
  };
}

async function cas(cluster: DevCluster, sandbox: Sandbox, command: string[]): Promise<string> {
  const machine = ['--machine', join(cluster.directory, 'machine.json')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, ['cas', ...command, '--cas', cluster.cas, ...machine]);
  if (exitCode !== 0) throw new Error(`avocado cas ${command[0]} failed: ${stderr}`);
  return stdout;
}
