import { checkHistory } from '../../bench/checker/check.ts';
import type { Operation } from '../../bench/checker/operation.ts';
import { Random } from '../../bench/random.ts';
import { openEngine } from '../../src/client/engine.ts';
import type { Engine } from '../../src/client/operations.ts';
import type { Client } from '../../src/index.ts';
import { AvocadoError, connect } from '../../src/index.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { KeySweep } from './key-sweep.ts';
import { MINUTE_MS, count, ms } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/** What a scan costs, and whether it is right while keys come and go and a replica is killed. */
const FEW_KEYS = 10_000;
const MANY_KEYS = 1_000_000;
const QUICK_MANY_KEYS = 200_000;
const SCAN_KEYS = 100;
const SCANS = 2_000;
/** A hundred times the keys: a search is a level deeper, and misses the processor's caches. A walk would cost 100 times. */
const SLOWER_MAX = 3;
const CHURN_KEYS = 40;
const STEADY_KEYS = 40;
const CHURN_MS = 6_000;
const WRITERS = 8;

export const scans: Proof = {
  name: 'scans',
  subject: '100 keys among a million cost time in proportion to the 100, and scans are right under churn',
  timeoutMs: 20 * MINUTE_MS,
  run: async (context) => [...(await proveCost(context)), await proveChurn(context), await proveWorkload(context)],
};

// -- cost -----------------------------------------------------------------------------------------------------------

interface ScanCost {
  readonly keys: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of all replicas. */
  readonly cpuUs: number;
}

async function proveCost(context: ProofContext): Promise<ClaimResult[]> {
  const manyKeys = context.quick ? QUICK_MANY_KEYS : MANY_KEYS;
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  try {
    const costs: ScanCost[] = [];
    for (const keys of [FEW_KEYS, manyKeys]) {
      context.progress(`puts ${count(keys)} keys`);
      const sweep = new KeySweep(keys);
      const engine = await openEngine({
        clusterDirectory: cluster.directory,
        sink: sweep,
        capacity: KeySweep.PLACES,
      });
      const client = await connect({ cluster: cluster.directory });
      try {
        await sweep.put(engine.operations);
        context.progress(`scans ${SCAN_KEYS} of ${count(keys)} keys, ${count(SCANS)} times`);
        await measure(client, engine, keys);
        costs.push(await measure(client, engine, keys));
      } finally {
        await client.close();
        await engine.close();
      }
    }
    const [few, many] = costs as [ScanCost, ScanCost];
    const ratio = many.p50Us / few.p50Us;
    const said = ({ keys, p50Us, p99Us, cpuUs }: ScanCost): string =>
      `among ${count(keys)}: p50 ${ms(p50Us)}, p99 ${ms(p99Us)}, ${count(cpuUs)} µs of all replicas`;
    return [
      {
        claim: `a scan of ${SCAN_KEYS} keys costs about the same among ${count(manyKeys)} keys as among ${count(FEW_KEYS)}`,
        ok: ratio <= SLOWER_MAX,
        figures: `${said(few)}; ${said(many)}; ratio of p50 ${ratio.toFixed(2)}, at most ${SLOWER_MAX} for 100 times the keys`,
        data: { few, many, ratio },
      },
    ];
  } finally {
    await cluster.stop();
  }
}

/** One scan after the other, from keys anywhere; each must find its keys. */
async function measure(client: Client, engine: Engine, keys: number): Promise<ScanCost> {
  const random = new Random(1);
  const latencies: number[] = [];
  const cpuBefore = await replicasCpuUs(engine);
  for (let i = 0; i < SCANS; i++) {
    const first = Math.floor(random.nextDouble() * (keys - SCAN_KEYS));
    const startMs = performance.now();
    let at = first;
    for await (const { key, value } of client.scan({ start: keyOf(first), limit: SCAN_KEYS })) {
      if (String(key) !== keyOf(at) || String(value) !== `value ${at}`)
        throw new Error(`a scan has ${String(key)} at ${at}`);
      at++;
    }
    if (at !== first + SCAN_KEYS) throw new Error(`a scan ends after ${at - first} keys`);
    latencies.push((performance.now() - startMs) * 1_000);
  }
  latencies.sort((a, b) => a - b);
  return {
    keys,
    p50Us: latencies[SCANS >> 1]!,
    p99Us: latencies[Math.floor(SCANS * 0.99)]!,
    cpuUs: ((await replicasCpuUs(engine)) - cpuBefore) / SCANS,
  };
}

async function replicasCpuUs(engine: Engine): Promise<number> {
  const members = await engine.status(5_000);
  return members.reduce((sum, { cpuUs }) => sum + (cpuUs ?? 0), 0);
}

/** As KeySweep names them. */
function keyOf(index: number): string {
  return `key ${String(index).padStart(12, '0')}`;
}

// -- churn ----------------------------------------------------------------------------------------------------------

/** What was done to keys, and what scans said of them, in the order of one clock. */
class Churn {
  readonly history: Operation[] = [];
  scanCount = 0;
  problem: string | undefined;
  readonly #client: Client;
  readonly #keys: readonly string[];
  #valueCount = 0;

  constructor(client: Client, keys: readonly string[]) {
    this.#client = client;
    this.#keys = keys;
  }

  async put(key: string): Promise<void> {
    const value = `v${this.#valueCount++}`;
    await this.#write('put', key, value, () => this.#client.put(key, value));
  }

  async delete(key: string): Promise<void> {
    await this.#write('delete', key, undefined, () => this.#client.delete(key));
  }

  async #write(
    kind: 'put' | 'delete',
    key: string,
    value: string | undefined,
    write: () => Promise<void>,
  ): Promise<void> {
    const start = performance.now();
    try {
      await write();
      this.history.push({ kind, key, value, start, end: performance.now() });
    } catch (error) {
      if (!(error instanceof AvocadoError)) throw error;
      if (error.code === 'OUTCOME_UNKNOWN') this.history.push({ kind, key, value, start, end: Infinity });
    }
  }

  /** Each key of the range, found or not, is a get from the scan's start to its end. */
  async scan(reverse: boolean): Promise<Map<string, string>> {
    const start = performance.now();
    const found = new Map<string, string>();
    const order: string[] = [];
    for await (const { key, value } of this.#client.scan({ prefix: 'churn ', reverse, pageSize: 16 })) {
      found.set(String(key), String(value));
      order.push(String(key));
    }
    const end = performance.now();
    const sorted = [...new Set(order)].sort();
    if (reverse) sorted.reverse();
    if (sorted.join() !== order.join()) this.problem ??= `keys out of order: ${order.join()}`;
    for (const key of this.#keys) this.history.push({ kind: 'get', key, value: found.get(key), start, end });
    this.scanCount++;
    return found;
  }
}

async function proveChurn(context: ProofContext): Promise<ClaimResult> {
  context.progress('scans while keys come and go');
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  const client = await connect({ cluster: cluster.directory });
  try {
    const keys = Array.from({ length: CHURN_KEYS + STEADY_KEYS }, (_, i) => `churn ${String(i).padStart(3, '0')}`);
    const churn = new Churn(client, keys);
    for (const key of keys) await churn.put(key);
    const endMs = performance.now() + CHURN_MS;
    const random = new Random(7);
    const draw = (): string => keys[2 * Math.floor(random.nextDouble() * CHURN_KEYS)]!;
    const writer = async (): Promise<void> => {
      while (performance.now() < endMs) await (random.nextDouble() < 0.5 ? churn.put(draw()) : churn.delete(draw()));
    };
    const scanner = async (reverse: boolean): Promise<void> => {
      while (performance.now() < endMs) await churn.scan(reverse);
    };
    const killed = setTimeout(() => process.kill(cluster.processIds[1]!, 'SIGKILL'), CHURN_MS / 2);
    await Promise.all([...Array.from({ length: WRITERS }, writer), scanner(false), scanner(true)]);
    clearTimeout(killed);
    // Now that nothing changes any more, a scan and gets must tell the same.
    const last = await churn.scan(false);
    const values = await client.getMany(keys);
    const differing = keys.filter((key, i) => last.get(key) !== values[i]?.toString()).length;
    const { violation, undecidedKeys } = checkHistory(churn.history);
    const ok = churn.problem === undefined && violation === undefined && undecidedKeys.length === 0 && differing === 0;
    const writeCount = churn.history.filter(({ kind }) => kind !== 'get').length;
    return {
      claim: `scans are right while ${CHURN_KEYS} of ${keys.length} keys are put and deleted and a replica is killed`,
      ok,
      figures:
        `${count(churn.scanCount)} scans and ${count(writeCount)} writes; ${count(churn.history.length)} operations on ` +
        `${keys.length} keys ${violation === undefined ? 'fit an order' : 'fit no order'}; ${differing} keys differ in ` +
        `the end${churn.problem === undefined ? '' : `; ${churn.problem}`}`,
      data: { scans: churn.scanCount, writes: writeCount, operations: churn.history.length, differing },
    };
  } finally {
    await client.close();
    await cluster.stop();
  }
}

// -- workload E -----------------------------------------------------------------------------------------------------

async function proveWorkload(context: ProofContext): Promise<ClaimResult> {
  const records = context.quick ? 10_000 : 100_000;
  const args = ['--workload', 'E', '--records', String(records), '--outstanding', '16'];
  const time = context.quick ? ['--duration', '2', '--warmup', '1'] : [];
  const report = await bench(context, 'workload E', [...args, ...time]);
  const run = report.runs[0]!;
  const { scan, insert } = run.latencyUs;
  return {
    claim: 'YCSB workload E runs without an error',
    ok: run.errors === 0 && scan !== undefined,
    figures:
      `${count(run.opsPerSecByType.scan ?? 0)} scans of 50 records on average a second among ${count(records)}, p50 ` +
      `${ms(scan?.p50 ?? 0)}, p99 ${ms(scan?.p99 ?? 0)}; inserts p50 ${ms(insert?.p50 ?? 0)}; ${run.errors} errors`,
    data: { records, opsPerSec: run.opsPerSec, latencyUs: run.latencyUs, errors: run.errors },
  };
}
