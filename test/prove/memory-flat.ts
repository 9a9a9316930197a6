import { setTimeout as sleep } from 'node:timers/promises';
import { LoadProcess } from '../../bench/load-process.ts';
import type { Ran } from '../../bench/messages.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { residentBytes } from '../processes/resident-memory.ts';
import { MIB, MINUTE_MS, count, mib } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { fitLine } from './line.ts';

/** Ten minutes of load must leave memory as it was once everything has warmed up. */
const DURATION_MS = 10 * MINUTE_MS;
const QUICK_DURATION_MS = MINUTE_MS;
/** What is warm-up: the first two minutes of ten, as much of a shorter run. */
const WARMUP_SHARE = 0.2;
const SAMPLE_INTERVAL_MS = 1_000;
/**
 * A heap breathes by some megabytes over minutes: the line through the samples may rise by so much over the rest of the
 * time. A leak of one byte an operation would be several times that.
 */
const RISE_BYTES_MAX = 8 * MIB;
const LOAD = { records: 100_000, valueBytes: 256, outstanding: 256, readProportion: 0.5 };

export const memoryFlat: Proof = {
  name: 'memory-flat',
  subject: 'the memory of replicas and client stays flat under load',
  timeoutMs: 15 * MINUTE_MS,
  run: proveFlat,
};

interface Watched {
  readonly name: string;
  readonly processId: number;
  readonly bytes: number[];
}

async function proveFlat(context: ProofContext): Promise<ClaimResult[]> {
  const durationMs = context.quick ? QUICK_DURATION_MS : DURATION_MS;
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  const load = new LoadProcess(0, () => {});
  try {
    context.progress(`loads ${count(LOAD.records)} records`);
    await load.ask(
      {
        type: 'open',
        clusterDirectory: cluster.directory,
        clients: [{ index: 0, historyPath: null }],
        clientCount: 1,
        records: LOAD.records,
        valueSizes: [{ valueBytes: LOAD.valueBytes, weight: 1 }],
        seed: 1,
        datagramBytes: null,
        receiveBufferBytes: null,
        outstanding: LOAD.outstanding,
        originNs: '0',
      },
      'opened',
    );
    const { failure } = await load.ask({ type: 'load' }, 'loaded');
    if (failure !== null) throw new Error(`the load phase ended with ${failure}`);
    const watched: Watched[] = cluster.processIds.map((processId, i) => ({
      name: `replica ${i}`,
      processId,
      bytes: [],
    }));
    watched.push({ name: 'client', processId: load.pid!, bytes: [] });
    context.progress(`runs workload A for ${durationMs / 1_000} s`);
    const running = load.ask(
      { type: 'run', readProportion: LOAD.readProportion, write: 'update', seed: 1, warmupMs: 0, durationMs },
      'ran',
    );
    const [ran] = await Promise.all([running, watch(watched, durationMs)]);
    return [resultOf(context.quick, durationMs, watched, ran)];
  } finally {
    await load.end();
    await cluster.stop();
  }
}

async function watch(watched: readonly Watched[], durationMs: number): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    for (const { processId, bytes } of watched) bytes.push(residentBytes(processId) ?? Number.NaN);
    await sleep(SAMPLE_INTERVAL_MS);
  }
}

function resultOf(quick: boolean, durationMs: number, watched: readonly Watched[], ran: Ran): ClaimResult {
  const processes = watched.map(({ name, bytes }) => {
    const rest = bytes.slice(Math.floor(bytes.length * WARMUP_SHARE));
    const line = fitLine(rest);
    const riseBytes = line.slope * rest.length;
    return { name, meanBytes: line.mean, riseBytes, ok: riseBytes <= RISE_BYTES_MAX, samples: bytes };
  });
  const errors = Object.entries(ran.errors).map(([kind, times]) => `${times} ${kind}`);
  const minutes = durationMs / MINUTE_MS;
  const { operations } = ran;
  const measuredOperations = operations * (1 - WARMUP_SHARE);
  const each = processes.map(({ name, meanBytes, riseBytes }) => `${name} ${mib(meanBytes)} ${signed(riseBytes)}`);
  return {
    claim: `${memoryFlat.subject}, ${minutes} minute${minutes === 1 ? '' : 's'}${quick ? ' (quick; ten without --quick)' : ''}`,
    ok: errors.length === 0 && processes.every((process) => process.ok),
    figures:
      `mean resident memory, and the rise of the line through it over the last ${((1 - WARMUP_SHARE) * minutes).toFixed(1)} minutes ` +
      `(at most ${mib(RISE_BYTES_MAX)}, ${(RISE_BYTES_MAX / measuredOperations).toFixed(2)} bytes an operation): ${each.join(', ')}; ` +
      `${count(operations)} operations, ${errors.join(', ') || 'no'} errors`,
    data: { processes, operations, errors: ran.errors },
  };
}

function signed(bytes: number): string {
  return `${bytes < 0 ? '-' : '+'}${mib(Math.abs(bytes))}`;
}
