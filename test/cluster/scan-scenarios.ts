/**
 * Scripted scans: situations that dice seldom make. As a program it says what is wrong and ends with exit code 1, so that
 * mutants can be shown to it.
 */
import type { ScanPage } from '../../src/protocol/scan-request.ts';
import { historyProblem } from './history-problem.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { connected, formed, get, put } from './steps.ts';

const LOST = { loss: 1, delayMsMax: 0 };
const WHOLE = { start: '', isAfterStart: false, end: '', isReverse: false, keysMax: 20, wantsValues: true };
const DEADLINE_MS = 1_000;

/** Only these members hear the client from now on. */
function reach(cluster: SimulatedCluster, client: RecordedClient, members: readonly number[]): void {
  cluster.network.clearLinks();
  const others = cluster.replicas.map(({ index }) => index).filter((index) => !members.includes(index));
  cutOff(cluster, client, others);
}

function cutOff(cluster: SimulatedCluster, client: RecordedClient, members: readonly number[]): void {
  for (const member of members) cluster.network.setLink(client.process, cluster.replicas[member]!.process, LOST);
}

export function scan(cluster: SimulatedCluster, client: RecordedClient, wish = WHOLE): ScanPage | undefined {
  let found: ScanPage | undefined;
  const attempt = client.scans.tryStart(wish, DEADLINE_MS, client.process.nowMs, (page) => (found = page))!;
  client.process.schedule();
  cluster.time.runUntil(() => attempt.outcome !== undefined, 2 * DEADLINE_MS);
  return found;
}

/**
 * A put has reached members 0 and 2, the delete that follows only member 0. A scan meets members 0 and 1, a get members 1
 * and 2: when the scan says that the key is gone, the get may not find it again.
 */
export function deleteHasReachedOne(seed: number): string | undefined {
  const cluster = formed({ seed });
  cluster.scannedKeys = ['key'];
  const [writer, reader] = [connected(cluster), connected(cluster)];
  reach(cluster, writer, [0, 2]);
  put(cluster, writer, 'key', 'value');
  reach(cluster, writer, [0, 1]);
  const stampReplies = cluster.observer.coverage.messages;
  const before = stampReplies.of('STAMP_REPLY');
  writer.delete('key', 20);
  cluster.time.runUntil(() => stampReplies.of('STAMP_REPLY') >= before + 2, 10);
  reach(cluster, writer, [0]);
  cluster.finish();
  reach(cluster, reader, [0, 1]);
  const page = scan(cluster, reader);
  if (page === undefined) return 'the scan does not end';
  reach(cluster, reader, [1, 2]);
  get(cluster, reader, 'key');
  if (writer.attempts[1]!.outcome !== 'outcome-unknown') return 'the delete has reached more than one';
  return historyProblem(cluster.history());
}

/**
 * Two puts under one counter: the one has reached two members and is done, the other only the third. A scan meets that one
 * and one of the two, a get the two: they may not find the one value and then the other again.
 */
export function twoWritersHaveOneCounter(seed: number): string | undefined {
  const cluster = formed({ seed });
  cluster.scannedKeys = ['key'];
  const [done, lost, reader] = [connected(cluster), connected(cluster), connected(cluster)];
  // Each of them is the one whose value a scan takes, now and then.
  const [third, one, other] = [seed % 3, (seed + 1) % 3, (seed + 2) % 3];
  reach(cluster, done, [one, other]);
  const { messages } = cluster.observer.coverage;
  const before = messages.of('STAMP_REPLY');
  lost.put('key', 'lost', 20);
  cluster.time.runUntil(() => messages.of('STAMP_REPLY') >= before + 2, 10);
  cutOff(cluster, lost, [one, other]);
  done.put('key', 'done', DEADLINE_MS);
  cluster.finish();
  reach(cluster, reader, [third, one]);
  if (scan(cluster, reader) === undefined) return 'the scan does not end';
  reach(cluster, reader, [one, other]);
  get(cluster, reader, 'key');
  return historyProblem(cluster.history());
}

/** A put has reached one member only. When a scan that meets it finds the value, a get of the two others finds it, too. */
export function putHasReachedOne(seed: number): string | undefined {
  const cluster = formed({ seed });
  cluster.scannedKeys = ['key'];
  const [writer, reader] = [connected(cluster), connected(cluster)];
  const [third, one, other] = [seed % 3, (seed + 1) % 3, (seed + 2) % 3];
  const { messages } = cluster.observer.coverage;
  const before = messages.of('STAMP_REPLY');
  writer.put('key', 'value', 20);
  cluster.time.runUntil(() => messages.of('STAMP_REPLY') >= before + 2, 10);
  cutOff(cluster, writer, [one, other]);
  cluster.finish();
  reach(cluster, reader, [third, one]);
  if (scan(cluster, reader) === undefined) return 'the scan does not end';
  reach(cluster, reader, [one, other]);
  get(cluster, reader, 'key');
  return historyProblem(cluster.history());
}

/**
 * Of these keys three fill an answer. Member 1 lacks the third and the fourth, so that its answer reaches further than that of
 * a member which has them all: of the fourth neither says anything.
 */
export function oneReachesFurther(seed: number): string | undefined {
  const cluster = formed({ seed });
  const keys = [...'abcdefg'].map((name) => name.padEnd(300, '.'));
  cluster.scannedKeys = keys;
  const [writer, reader] = [connected(cluster), connected(cluster)];
  const lacking = keys.slice(2, 4);
  for (const key of keys) if (!lacking.includes(key)) put(cluster, writer, key, `value of ${key[0]}`);
  reach(cluster, writer, [0, 2]);
  for (const key of lacking) put(cluster, writer, key, `value of ${key[0]}`);
  reach(cluster, reader, [0, 1]);
  if (scan(cluster, reader, { ...WHOLE, wantsValues: false }) === undefined) return 'the scan does not end';
  return historyProblem(cluster.history());
}

/** What is seen of a problem in some runs of it. */
export function problemOf(scenario: (seed: number) => string | undefined): string | undefined {
  for (let seed = 1; seed <= 20; seed++) {
    const problem = scenario(seed);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
