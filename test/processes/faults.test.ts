import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect } from 'avocado-kv';
import type { AvocadoError } from 'avocado-kv';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';
import { faultUnderLoad } from './fault-under-load.ts';
import { RestartedReplica } from './restarted-replica.ts';
import { until } from './until.ts';
import { WindowedLoad } from './windowed-load.ts';

/** Replicas that stop and die while clients work. The tests go on from one another: each leaves the cluster worse. */
const exits: string[] = [];
const cluster = await startEmbeddedCluster({
  mode: 'secure',
  onReplicaExit: (index, description) => exits.push(`${index}: ${description}`),
});
const sandbox = makeSandbox();
after(async () => {
  await cluster.stop();
  sandbox.remove();
});

const LOAD = { clusterDirectory: cluster.directory, records: 1_000, outstanding: 64 };
/** Ends what has no quorum, well before a test's patience does. */
const SHORT_DEADLINE_MS = 1_000;
/** For what must succeed, on a machine however busy. */
const LONG_DEADLINE_MS = 20_000;
const [stopped, killed, killedLater] = [0, 1, 2] as const;

function signal(index: number, name: NodeJS.Signals): void {
  process.kill(cluster.processIds[index]!, name);
}

test('a replica that is stopped for seconds and goes on costs no client an error', async () => {
  const load = await WindowedLoad.open(LOAD);
  try {
    await load.fill();
    const report = await faultUnderLoad(
      load,
      { warmupMs: 250, beforeMs: 250, laterMs: 2_000 },
      () => signal(stopped, 'SIGSTOP'),
      () => signal(stopped, 'SIGCONT'),
    );
    assert.deepEqual(report.errors, {});
    assert(report.firstSecond.opsPerSec > 0 && report.later.opsPerSec > 0, 'the others served on');
    const status = await until(async () => {
      const member = (await load.engine.status(1_000))[stopped]!;
      return member.state === 'active' && member;
    }, 'the stopped replica to answer again');
    assert.equal(status.instance, load.engine.instance);
  } finally {
    signal(stopped, 'SIGCONT');
    await load.close();
  }
});

test('what a write says when two of three replicas stop under it is true once they go on', async () => {
  const client = await connect({ cluster: cluster.directory, deadlineMs: SHORT_DEADLINE_MS });
  try {
    const keys = Array.from({ length: 300 }, (_, i) => `write-${i}`);
    await client.putMany(
      keys.map((key) => [key, 'old']),
      { deadlineMs: LONG_DEADLINE_MS },
    );
    const settled = Promise.allSettled(keys.map((key) => client.put(key, 'new')));
    signal(stopped, 'SIGSTOP');
    signal(killed, 'SIGSTOP');
    const late = await Promise.allSettled(keys.map((key) => client.put(`${key} late`, 'new')));
    const reads = await Promise.allSettled(keys.map((key) => client.get(key)));
    const results = await settled;
    signal(stopped, 'SIGCONT');
    signal(killed, 'SIGCONT');
    for (const read of reads) assert.equal(codeOf(read), 'DEADLINE_EXCEEDED');
    for (const put of late) assert.equal(codeOf(put), 'DEADLINE_EXCEEDED', 'no quorum gave a stamp: nothing was sent');
    const values = await client.getMany(keys, { deadlineMs: LONG_DEADLINE_MS });
    for (const [i, result] of results.entries()) {
      const code = codeOf(result);
      const value = values[i]?.toString();
      if (code === 'ok') assert.equal(value, 'new', `${keys[i]} was acknowledged`);
      else if (code === 'DEADLINE_EXCEEDED') assert.equal(value, 'old', `${keys[i]} was said to have had no effect`);
      else {
        assert.equal(code, 'OUTCOME_UNKNOWN');
        assert(value === 'old' || value === 'new');
      }
    }
  } finally {
    signal(stopped, 'SIGCONT');
    signal(killed, 'SIGCONT');
    await client.close();
  }
});

test('a replica killed under load costs no client an error, and comes back as an outsider', async (context) => {
  const load = await WindowedLoad.open(LOAD);
  const restarted: RestartedReplica[] = [];
  try {
    await load.fill();
    const report = await faultUnderLoad(load, { warmupMs: 250, beforeMs: 250, laterMs: 1_500 }, () =>
      signal(killed, 'SIGKILL'),
    );
    assert.deepEqual(report.errors, {});
    assert(report.firstSecond.opsPerSec > 0 && report.later.opsPerSec > 0, 'the others served on');
    assert.deepEqual(exits, [`${killed}: SIGKILL ended it`]);

    await context.test('restarted under load it stays outside, says why, and disturbs nobody', async () => {
      load.start(0.5);
      const replica = new RestartedReplica(sandbox, cluster.directory, killed);
      restarted.push(replica);
      const line = await until(() => replica.lineOf('outside'), 'the restarted replica to say that it stays outside');
      assert.match(line, /a replica that restarts is empty and may not vote/);
      assert.equal(replica.lineOf('active'), undefined);
      const before = load.completed;
      await until(() => load.completed > before + 1_000, 'the others to serve on');
      await load.drain();
      assert.deepEqual(load.errors, {});
    });

    await context.test('status shows it, and why', async () => {
      const status = await runAvocado(sandbox, ['status', '--json', '--cluster', cluster.directory]);
      assert.equal(status.exitCode, 0, status.stderr);
      const { members } = JSON.parse(status.stdout) as { members: { state: string; reason?: string; keys?: number }[] };
      assert.equal(members[killed]!.state, 'outside');
      assert.match(members[killed]!.reason ?? '', /not in the active cluster instance.*may not vote/);
      assert.equal(members[killed]!.keys, 0);
      assert.deepEqual([members[stopped]!.state, members[killedLater]!.state], ['active', 'active']);
    });

    await context.test('with a second one killed the outsider does not make up the quorum', async () => {
      const connected = await connect({ cluster: cluster.directory, deadlineMs: SHORT_DEADLINE_MS });
      signal(killedLater, 'SIGKILL');
      await until(() => exits.length === 2, 'the second replica to end');
      try {
        await assert.rejects(connected.get('key'), { code: 'DEADLINE_EXCEEDED' });
        await assert.rejects(connected.put('key', 'value'), { code: 'DEADLINE_EXCEEDED' });
      } finally {
        await connected.close();
      }
      const client = await connect({ cluster: cluster.directory, connectTimeoutMs: 1_500 }).catch(
        (error: AvocadoError) => error,
      );
      assert('code' in client && client.code === 'NO_QUORUM', 'a new client finds no quorum');
      assert.match(
        client.message,
        /replica 0 \(.*\) is active; replica 1 \(.*\) is outside; replica 2 .*does not answer/,
      );

      load.start(0.5);
      await load.windows(SHORT_DEADLINE_MS);
      assert.equal(load.completed, 0, 'no operation ends well any more');
    });
  } finally {
    for (const replica of restarted) await replica.end();
    await load.close();
  }
});

function codeOf(result: PromiseSettledResult<unknown>): string {
  return result.status === 'fulfilled' ? 'ok' : (result.reason as AvocadoError).code;
}
