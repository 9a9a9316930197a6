import { DELAY_MS, EPISODE_INTERVAL_MS, EPISODE_MS, RESTART_AFTER_MS, SHARES } from './fault-plan.ts';
import { DUPLICATE_AFTER_MS_MAX, OVERTAKEN_BY_MAX } from './faulty-channel.ts';
import type { FaultKind, NetworkFaultKind } from './faults.ts';
import { CHAOS_DEFAULTS, DEADLINE_MS } from './options.ts';

/** What --help says of --chaos, with the figures of the code. */
export function chaosHelp(): string {
  const { records, outstanding, clients, warmup } = CHAOS_DEFAULTS;
  const interval = range({ min: EPISODE_INTERVAL_MS / 2_000, max: (EPISODE_INTERVAL_MS * 3) / 2_000 }, 's');
  return `Chaos:
--chaos runs the workload on a cluster of its own whose every datagram goes through a UDP proxy, with faults for
--duration seconds. What happens to whom and when follows from --seed and the other flags. Every ${interval} begins an
episode that lasts for ${seconds(EPISODE_MS)}:
${describeKinds()}
Then the cluster comes to rest, and the history of all operations is checked for linearizability. Deadlines (${DEADLINE_MS / 1_000} s)
and unknown outcomes are what faults do. Exit code 1: the history is not linearizable, a wrong value was read, or
operations don't succeed again after the last fault. The history is kept when a run fails, or with --history.
Unless given: ${records} records, ${clients} clients with ${outstanding} outstanding each in a process each, ${warmup / 1_000} s of warm-up.`;
}

function describeKinds(): string {
  const share = (kind: NetworkFaultKind): string =>
    range({ min: SHARES[kind].min * 100, max: SHARES[kind].max * 100 }, '%');
  const rows: Record<FaultKind, string> = {
    kill: `kill -9 of f of the 2f+1 replicas, started again, empty, after ${seconds(RESTART_AFTER_MS)}: they stay outside`,
    stop: 'SIGSTOP, later SIGCONT: a replica, a load process, or so many replicas that no quorum is left',
    partition: 'nothing gets to one replica, or from it, or both',
    loss: `${share('loss')} of the datagrams are dropped`,
    duplicate: `${share('duplicate')} come twice, the second up to ${DUPLICATE_AFTER_MS_MAX} ms later`,
    reorder: `${share('reorder')} are overtaken by 1 to ${OVERTAKEN_BY_MAX} later ones`,
    delay: `all come ${range(DELAY_MS, 'ms')} later`,
    corrupt: `${share('corrupt')} have one byte changed; not in mode plaintext, which could not notice`,
  };
  return Object.entries(rows)
    .map(([kind, text]) => `  ${kind.padEnd(9)}  ${text}`)
    .join('\n');
}

interface Range {
  readonly min: number;
  readonly max: number;
}

function seconds({ min, max }: Range): string {
  return range({ min: min / 1_000, max: max / 1_000 }, 's');
}

function range({ min, max }: Range, unit: string): string {
  return `${min} to ${max} ${unit}`;
}
