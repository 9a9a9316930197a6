import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { connect } from 'avocado-kv';
import type { Route } from 'avocado-kv';

/** Many clients in several processes that increment the same counters, and what the counters must be afterwards. */
export interface IncrementShare {
  readonly clusterDirectory: string;
  readonly route: Route;
  /** Of this process. */
  readonly clients: number;
  readonly keys: number;
  /** That are to be acknowledged to this process. */
  readonly increments: number;
  /** Of each. */
  readonly deadlineMs: number;
}

export interface IncrementsDone {
  readonly type: 'done';
  readonly acknowledged: number;
  /** By code. */
  readonly errors: Readonly<Record<string, number>>;
  /** Increments of the client that did most, and of the one that did least. */
  readonly mostOfOne: number;
  readonly leastOfOne: number;
}

export interface IncrementsOptions extends Omit<IncrementShare, 'route'> {
  readonly route?: Route;
  readonly processes: number;
  /** Called once, when so many are acknowledged. */
  readonly strikeAt: number;
  strike(): void;
}

export interface IncrementsResult extends Omit<IncrementsDone, 'type'> {
  readonly sum: bigint;
  readonly elapsedMs: number;
  /** Acknowledged a second, before the strike and from then on. */
  readonly rateBefore: number;
  readonly rateAfter: number;
  /** An acknowledged increment counts once, one of unknown outcome once or not at all, any other not. */
  readonly isExact: boolean;
}

interface ProgressMessage {
  readonly type: 'progress';
  readonly acknowledged: number;
}

export function counterName(index: number): string {
  return `counter ${index}`;
}

const CHILD = fileURLToPath(new URL('increment-child.js', import.meta.url));

/** @param options Counters that nobody has used before; numbers are of all processes together. */
export async function runIncrements(options: IncrementsOptions): Promise<IncrementsResult> {
  const { clusterDirectory, route = 'direct', clients, keys, increments, deadlineMs, processes, strikeAt } = options;
  const progress = new Array<number>(processes).fill(0);
  const children: ChildProcess[] = [];
  const startMs = performance.now();
  let strikeMs: number | undefined;
  let acknowledgedBefore = 0;
  const onProgress = (index: number, acknowledged: number): void => {
    progress[index] = acknowledged;
    if (strikeMs !== undefined) return;
    acknowledgedBefore = progress.reduce((sum, each) => sum + each, 0);
    if (acknowledgedBefore < strikeAt) return;
    strikeMs = performance.now();
    options.strike();
  };
  try {
    const done = await Promise.all(
      Array.from({ length: processes }, async (_, index) => {
        const child = fork(CHILD, [], { execArgv: [] });
        children.push(child);
        return await doneOf(
          child,
          {
            clusterDirectory,
            route,
            keys,
            deadlineMs,
            clients: shareOf(clients, index, processes),
            increments: shareOf(increments, index, processes),
          },
          (acknowledged) => onProgress(index, acknowledged),
        );
      }),
    );
    const endMs = performance.now();
    if (strikeMs === undefined) throw new Error('all was done before anything was struck');
    const result = resultOf(done, await sumOf(clusterDirectory, keys));
    return {
      ...result,
      elapsedMs: endMs - startMs,
      rateBefore: (acknowledgedBefore * 1_000) / (strikeMs - startMs),
      rateAfter: ((result.acknowledged - acknowledgedBefore) * 1_000) / (endMs - strikeMs),
    };
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

function shareOf(whole: number, index: number, parts: number): number {
  return Math.floor((whole * (index + 1)) / parts) - Math.floor((whole * index) / parts);
}

function doneOf(
  child: ChildProcess,
  share: IncrementShare,
  onProgress: (acknowledged: number) => void,
): Promise<IncrementsDone> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: ProgressMessage | IncrementsDone) => {
      if (message.type === 'done') resolve(message);
      else onProgress(message.acknowledged);
    });
    child.on('exit', (code, signal) => reject(new Error(`a process of clients ended with ${signal ?? code}`)));
    child.on('error', reject);
    child.send(share);
  });
}

function resultOf(
  done: readonly IncrementsDone[],
  sum: bigint,
): Omit<IncrementsResult, 'elapsedMs' | 'rateBefore' | 'rateAfter'> {
  const acknowledged = done.reduce((total, each) => total + each.acknowledged, 0);
  const errors: Record<string, number> = {};
  for (const each of done) {
    for (const [code, times] of Object.entries(each.errors)) errors[code] = (errors[code] ?? 0) + times;
  }
  const more = sum - BigInt(acknowledged);
  return {
    acknowledged,
    errors,
    sum,
    isExact: more >= 0n && more <= BigInt(errors['OUTCOME_UNKNOWN'] ?? 0),
    mostOfOne: Math.max(...done.map(({ mostOfOne }) => mostOfOne)),
    leastOfOne: Math.min(...done.map(({ leastOfOne }) => leastOfOne)),
  };
}

async function sumOf(clusterDirectory: string, keys: number): Promise<bigint> {
  const client = await connect({ cluster: clusterDirectory, deadlineMs: 30_000 });
  try {
    const values = await client.getMany(Array.from({ length: keys }, (_, index) => counterName(index)));
    return values.reduce((sum, value) => sum + BigInt(value?.toString() ?? 0), 0n);
  } finally {
    await client.close();
  }
}
