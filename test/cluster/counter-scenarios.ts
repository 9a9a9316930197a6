/**
 * Clients with valid keys that would use the counters of stamps or the numbers of ballots up, and members that were away meanwhile. Each says what is
 * wrong, or undefined.
 */
import { FLAG_WRITE_BACK } from '../../src/protocol/messages.ts';
import { COUNTER_STEP_MAX } from '../../src/protocol/counter-guard.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { sendBallot } from './hostile-changes.ts';
import { sendPart, sendWrite } from './hostile-client.ts';
import { OddClient } from './odd-client.ts';
import { counterProblem } from './poison.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, put } from './steps.ts';

const POISONED = 'hostile-greatest';
const LOST = { loss: 1, delayMsMax: 0 };
/** Whatever a member knows, an honest put is done soon. */
const DEADLINE_MS = 5_000;
/** Much longer than that is what a member that was away lags by. */
const AWAY_SECONDS = 20;

function hostileOf(cluster: SimulatedCluster): OddClient {
  const hostile = new OddClient(cluster, 'hostile', 7_000, {});
  cluster.time.runUntil(() => hostile.links.every(({ session }) => session !== undefined), 5_000);
  return hostile;
}

/** The worst that a client can do: each time the greatest counter that the member still takes, of which no client is told. */
function pushUp(cluster: SimulatedCluster, hostile: OddClient, members: readonly number[], ms: number): void {
  const endMs = cluster.time.nowMs + ms;
  while (cluster.time.nowMs < endMs) {
    for (const member of members) {
      const { ceiling } = cluster.replicas[member]!.node.guard;
      sendWrite(hostile, member, { key: POISONED, counter: ceiling });
    }
    cluster.time.run(20);
  }
}

/** The greatest counter by each way that a client has, and by steps: stamps stay within the bound, and honest puts work. */
export function greatestIsSent(seed: number): string | undefined {
  const cluster = formed({ seed });
  const [client, hostile] = [connected(cluster), hostileOf(cluster)];
  for (let round = 0; round < 5; round++) {
    for (const { index } of cluster.replicas) {
      for (const flags of [0, FLAG_WRITE_BACK]) {
        sendWrite(hostile, index, { key: POISONED, counter: STAMP_COUNTER_MAX, flags });
        for (let step = 1; step <= 200; step++) {
          sendWrite(hostile, index, { key: 'key', counter: step * COUNTER_STEP_MAX, flags });
          if (step % 20 === 0) cluster.time.run(1);
        }
      }
      for (const part of [0, 1, 2, 3]) sendPart(hostile, index, { key: POISONED, counter: STAMP_COUNTER_MAX, part });
    }
    for (const key of [POISONED, 'key', 'other']) {
      const { outcome } = put(cluster, client, key, `${key} ${round}`, DEADLINE_MS);
      if (outcome !== 'ok') return `a put of ${key} ends as ${outcome}`;
    }
  }
  return counterProblem(cluster, ['key', 'other']);
}

/** A member stands still while the others' counters go up; then another one goes, and the first is needed. */
export function memberWasAway(seed: number): string | undefined {
  const cluster = formed({ seed });
  const [client, hostile] = [connected(cluster), hostileOf(cluster)];
  const [going, staying, away] = [seed % 3, (seed + 1) % 3, (seed + 2) % 3];
  cluster.replicas[away]!.process.pause(AWAY_SECONDS * 1_000);
  pushUp(cluster, hostile, [going, staying], AWAY_SECONDS * 1_000);
  const lag = cluster.replicas[staying]!.node.guard.ceiling - cluster.replicas[away]!.node.guard.ceiling;
  if (lag < (AWAY_SECONDS - 1) * COUNTER_STEP_MAX) return `the counters went up by ${lag} only`;
  if (put(cluster, client, POISONED, 'value', DEADLINE_MS).outcome !== 'ok') return 'a quorum without it is not enough';
  cluster.replicas[going]!.crash();
  const { outcome } = put(cluster, client, 'key', 'value', DEADLINE_MS);
  if (outcome !== 'ok') return `a put that needs the member that was away ends as ${outcome}`;
  return counterProblem(cluster, ['key']);
}

/** A member whose counters went up out of the others' sight has told a client, and goes: nobody is left to tell the others. */
export function nobodyCanTell(seed: number): string | undefined {
  const cluster = formed({ seed });
  const [client, hostile] = [connected(cluster), hostileOf(cluster)];
  const [going, ...others] = [seed % 3, (seed + 1) % 3, (seed + 2) % 3].map((index) => cluster.replicas[index]!);
  for (const other of others) {
    cluster.network.setLink(going!.process, other.process, LOST);
    cluster.network.setLink(other.process, going!.process, LOST);
  }
  pushUp(cluster, hostile, [going!.index], 3_000);
  const counter = going!.counterOf(POISONED);
  // It learns of them by its own put, which nobody else takes yet.
  cluster.network.setLink(client.process, others[1]!.process, LOST);
  put(cluster, client, POISONED, 'value', 300);
  cluster.network.clearLinks();
  going!.crash();
  const { outcome } = put(cluster, client, 'key', 'value', DEADLINE_MS);
  if (outcome !== 'ok') return `a put after it ends as ${outcome}`;
  if (others.some((other) => other.counterOf('key') > 0 && other.counterOf('key') < counter)) return 'it was not met';
  return counterProblem(cluster, ['key']);
}

/**
 * Ballots of one key go up at one member, as far as it takes them. A client that meets them there goes on from them, for all of
 * its keys: the others must take those, too.
 */
export function ballotsGoUpAtOne(seed: number): string | undefined {
  const cluster = formed({ seed });
  const [client, hostile] = [connected(cluster), hostileOf(cluster)];
  const member = seed % 3;
  for (let step = 1; step <= 2_000; step++) {
    while (!sendBallot(hostile, member, POISONED, step * COUNTER_STEP_MAX)) cluster.time.run(1);
  }
  for (const { index } of cluster.replicas) sendBallot(hostile, index, POISONED, STAMP_COUNTER_MAX);
  cluster.time.run(10);
  for (const key of [POISONED, POISONED, 'key', 'other']) {
    const attempt = client.tryChange(key, { kind: 'incr', value: undefined, delta: 1n }, DEADLINE_MS)!;
    cluster.finish();
    if (attempt.outcome !== 'ok') return `an increment of ${key} ends as ${attempt.outcome}`;
  }
  return undefined;
}
