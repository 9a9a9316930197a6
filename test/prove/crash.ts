import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeSandbox } from '../cli/avocado-process.ts';
import { faultUnderLoad } from '../processes/fault-under-load.ts';
import type { FaultReport } from '../processes/fault-under-load.ts';
import { RestartedReplica } from '../processes/restarted-replica.ts';
import { until } from '../processes/until.ts';
import { WindowedLoad } from '../processes/windowed-load.ts';
import { MINUTE_MS, count, ms } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** A replica that dies, or stops for seconds, under full load. */
const RECORDS = 10_000;
const OUTSTANDING = 256;
const TIMES = { warmupMs: 3_000, beforeMs: 5_000, laterMs: 5_000 };
const VICTIM = 1;
/** Back means: within this factor of what it was. */
const P99_FACTOR_MAX = 2;

export const crashKill: Proof = {
  name: 'crash-kill',
  subject: 'kill -9 of one replica under load',
  timeoutMs: 3 * MINUTE_MS,
  run: (context) =>
    withLoad(context, async (cluster, load) => {
      context.progress(`load, then kill -9 of replica ${VICTIM}`);
      const report = await faultUnderLoad(load, TIMES, () => process.kill(cluster.processIds[VICTIM]!, 'SIGKILL'));
      context.progress('the killed replica is restarted');
      return [
        resultOf('kill -9 of one replica under load: no error reaches a client, p99 is back within a second', report),
        await restart(cluster, load),
      ];
    }),
};

export const crashStop: Proof = {
  name: 'crash-stop',
  subject: 'SIGSTOP of one replica under load',
  timeoutMs: 3 * MINUTE_MS,
  run: (context) =>
    withLoad(context, async (cluster, load) => {
      context.progress(`load, then SIGSTOP of replica ${VICTIM}, then SIGCONT`);
      const victim = cluster.processIds[VICTIM]!;
      const report = await faultUnderLoad(
        load,
        TIMES,
        () => process.kill(victim, 'SIGSTOP'),
        () => process.kill(victim, 'SIGCONT'),
      );
      const claim = `a replica stopped for ${(TIMES.laterMs + 1_000) / 1_000} s under load: no error reaches a client, p99 is back within a second`;
      return [resultOf(claim, report)];
    }),
};

async function withLoad(
  context: ProofContext,
  prove: (cluster: EmbeddedCluster, load: WindowedLoad) => Promise<ClaimResult[]>,
): Promise<ClaimResult[]> {
  const cluster = await startEmbeddedCluster({ mode: 'secure', log: context.progress });
  let load: WindowedLoad | undefined;
  try {
    load = await WindowedLoad.open({ clusterDirectory: cluster.directory, records: RECORDS, outstanding: OUTSTANDING });
    await load.fill();
    return await prove(cluster, load);
  } finally {
    await load?.close();
    await cluster.stop();
  }
}

function resultOf(claim: string, report: FaultReport): ClaimResult {
  const { before, firstSecond, later } = report;
  const factor = later.p99Us / before.p99Us;
  const errors = Object.entries(report.errors).map(([kind, times]) => `${times} ${kind}`);
  return {
    claim,
    ok: errors.length === 0 && factor <= P99_FACTOR_MAX,
    figures:
      `${errors.join(', ') || 'no'} errors; p99 ${ms(before.p99Us)} before, ${ms(firstSecond.windowP99UsMax)} in the worst quarter of the first second, ` +
      `${ms(later.p99Us)} from one second after on (x ${factor.toFixed(2)}, at most ${P99_FACTOR_MAX}); ` +
      `${count(before.opsPerSec)} ops/s before, ${count(later.opsPerSec)} after`,
    data: { ...report },
  };
}

async function restart(cluster: EmbeddedCluster, load: WindowedLoad): Promise<ClaimResult> {
  const sandbox = makeSandbox();
  const replica = new RestartedReplica(sandbox, cluster.directory, VICTIM);
  try {
    const line = await until(
      () => replica.lineOf('outside') ?? replica.lineOf('active'),
      'the restarted replica to say what it is',
    );
    const member = (await load.engine.status(5_000))[VICTIM]!;
    const said = line.replace(/^\S+ /, '');
    return {
      claim: 'a killed replica that is restarted, empty, stays outside and says why',
      ok: replica.lineOf('active') === undefined && member.state === 'outside' && member.reason !== undefined,
      figures: `it says: ${said}; status says: ${member.state}, ${member.reason ?? 'without a reason'}`,
      data: { said, status: member },
    };
  } finally {
    await replica.end();
    sandbox.remove();
  }
}
