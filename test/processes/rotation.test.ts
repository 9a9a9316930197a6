/** A data key that is rotated while clients read and write: nobody notices, and in the end the old key is gone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { MemberStatus } from '../../src/client/operations.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { CasDocument } from '../../src/trust/chain/messages.ts';
import { makeSandbox, runAvocado } from '../cli/avocado-process.ts';
import { openClient } from './open-client.ts';
import { until } from './until.ts';
import { WindowedLoad } from './windowed-load.ts';

const RECORDS = 1_000;
/** Larger than any datagram: a read-modify-write doesn't take it. */
const LARGE_BYTES = [100_000, 1_048_576];

const exits: string[] = [];
const cluster = await startEmbeddedCluster({
  mode: 'secure',
  chain: { vendorLatencyMs: 0, refreshMs: 1_000 },
  log: () => {},
  onReplicaExit: (index, description) => exits.push(`replica ${index}: ${description}`),
});
const sandbox = makeSandbox();
const { client, engine } = await openClient(cluster.directory);
const load = await WindowedLoad.open({ clusterDirectory: cluster.directory, records: RECORDS, outstanding: 8 });
after(async () => {
  await load.close();
  await client.close();
  await cluster.stop();
  sandbox.remove();
});

async function cas(...command: string[]): Promise<string> {
  const machine = ['--machine', join(cluster.directory, 'machine.json')];
  const { exitCode, stdout, stderr } = await runAvocado(sandbox, [
    'cas',
    ...command,
    '--cas',
    cluster.cas!,
    ...machine,
  ]);
  assert.equal(exitCode, 0, stderr);
  return stdout;
}

async function rotate(): Promise<string> {
  return cas('rotate', '--operator-key', join(cluster.directory, 'operator.json'));
}

async function document(): Promise<CasDocument> {
  return (JSON.parse(await cas('show', '--json')) as { document: CasDocument }).document;
}

function allMembers(condition: (member: MemberStatus) => boolean | undefined, what: string): Promise<MemberStatus[]> {
  return until(async () => {
    const members = await engine.status(1_000);
    return members.every((member) => condition(member) === true) && members;
  }, what);
}

test('under load no operation fails, large values are sealed anew, too, and the old key is destroyed', async () => {
  await load.fill();
  // Keys that nobody writes again, one with a read-modify-write.
  await client.putMany(Array.from({ length: 200 }, (_, i) => [`quiet ${i}`, `value ${i}`]));
  await client.increment('counter', 5n);
  for (const byteCount of LARGE_BYTES) await client.put(`large ${byteCount}`, Buffer.alloc(byteCount, 7));
  load.start(0.5);
  assert.match(await rotate(), /announced data key 2 of key space default/);

  await until(async () => (await document()).destroyedKeys.includes(1), 'the old key to be destroyed');
  const members = await allMembers((member) => member.dataKeys?.destroyed === 1, 'all members to have erased it');
  const resealed = members.reduce((sum, { dataKeys }) => sum + dataKeys!.resealed, 0);
  assert.ok(resealed >= 200 + LARGE_BYTES.length, `${resealed} values were sealed anew`);
  assert.match(await cas('show'), /data key 2 +of key space default: current\n +destroyed keys +1/);

  // All are there for a client that never had the old key, too.
  const late = await openClient(cluster.directory);
  for (const reader of [client, late.client]) {
    const values = await reader.getMany(Array.from({ length: 200 }, (_, i) => `quiet ${i}`));
    assert.deepEqual(
      values.map(String),
      Array.from({ length: 200 }, (_, i) => `value ${i}`),
    );
    assert.equal(String(await reader.get('counter')), '5');
    for (const byteCount of LARGE_BYTES) {
      assert.deepEqual(await reader.get(`large ${byteCount}`), Buffer.alloc(byteCount, 7));
    }
  }
  await late.client.close();
  assert.ok(load.completed > 0);
  await load.drain();
  assert.deepEqual(load.errors, {});
  assert.deepEqual(exits, []);
  for (const { drops } of await engine.status(1_000)) assert.equal(drops?.['old-data-key'] ?? 0, 0);
});
