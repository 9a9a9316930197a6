/** The main of a process of increments.ts: some clients that increment counters until there is nothing left to do. */
import { AvocadoError, connect } from 'avocado-kv';
import type { Client } from 'avocado-kv';
import type { IncrementShare, IncrementsDone } from './increments.ts';
import { counterName } from './increments.ts';

const DEADLINE_MS = 30_000;
const TELL_INTERVAL_MS = 50;

async function run(share: IncrementShare): Promise<IncrementsDone> {
  const { clusterDirectory, route, clients: clientCount, keys, increments } = share;
  const options = { cluster: clusterDirectory, route, deadlineMs: DEADLINE_MS, connectTimeoutMs: DEADLINE_MS };
  const clients = await Promise.all(Array.from({ length: clientCount }, () => connect(options)));
  const done = { acknowledged: 0, errors: {} as Record<string, number>, mostOfOne: 0, leastOfOne: Infinity };
  let left = increments;
  const timer = setInterval(
    () => process.send!({ type: 'progress', acknowledged: done.acknowledged }),
    TELL_INTERVAL_MS,
  );
  const work = async (client: Client, index: number): Promise<void> => {
    let own = 0;
    for (; left > 0; own++) {
      left--;
      try {
        // Counters in turn, each client from another one on.
        await client.increment(counterName((index + own) % keys));
        done.acknowledged++;
      } catch (error) {
        if (!(error instanceof AvocadoError)) throw error;
        done.errors[error.code] = (done.errors[error.code] ?? 0) + 1;
        // An error is no increment: another one takes its place, so that as many are acknowledged in the end.
        left++;
      }
    }
    done.mostOfOne = Math.max(done.mostOfOne, own);
    done.leastOfOne = Math.min(done.leastOfOne, own);
  };
  await Promise.all(clients.map(work));
  clearInterval(timer);
  await Promise.all(clients.map((client) => client.close()));
  return { type: 'done', ...done };
}

async function answer(share: IncrementShare): Promise<void> {
  process.send!(await run(share));
  process.disconnect();
}

process.on('message', (share: IncrementShare) => void answer(share));
