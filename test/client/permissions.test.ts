/** Clients with few rights on real replicas, in both routes: what they may they do, for the rest they get errors that help. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from '../../src/index.ts';
import type { Client, ScanOptions } from '../../src/index.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { makeEnrolmentFile } from '../../src/trust/chain/enrolment-file.ts';
import { newProfile } from '../../src/trust/chain/profiles.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { hexOf } from '../../src/trust/hex.ts';

const CLIENTS = { billing: 'rw:billing/', auditor: 'r:,a:', collector: 'w:logs/', editor: 'r:docs/,w:docs/draft/' };
const FORBIDDEN = { code: 'NOT_PERMITTED', message: /the certificate does not permit it for this key/ };
const KEYLESS = { code: 'NOT_PERMITTED', message: /no data key for the key's space.*--route coordinated/ };

let cluster: EmbeddedCluster;
let all: Client;
const open: Client[] = [];

async function as(name: string | undefined, route: 'direct' | 'coordinated' = 'direct'): Promise<Client> {
  const client = await connect({ cluster: cluster.directory, route, ...(name !== undefined && { as: name }) });
  open.push(client);
  return client;
}

async function keysOf(client: Client, options: ScanOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of client.scan({ ...options, keysOnly: true })) keys.push(key.toString());
  return keys;
}

async function forbiddenCount(): Promise<number> {
  const members = await all.status();
  return members.reduce((sum, { drops }) => sum + (drops?.['not-permitted'] ?? 0), 0);
}

before(async () => {
  cluster = await startEmbeddedCluster({
    mode: 'secure',
    clients: Object.entries(CLIENTS).map(([name, grants]) => ({ name, grants: parseGrants(grants) })),
  });
  all = await as(undefined);
  for (const key of ['billing/1', 'users/1', 'docs/1', 'docs/draft/1']) await all.put(key, `first of ${key}`);
});

after(async () => {
  for (const client of open) await client.close();
  await cluster.stop();
});

test('one prefix, through a replica: all that it may, and nothing else', async () => {
  const billing = await as('billing', 'coordinated');
  await billing.put('billing/1', 'changed');
  assert.equal(String(await billing.get('billing/1')), 'changed');
  assert.equal(await billing.increment('billing/count', 2), 2n);
  await billing.delete('billing/1');
  assert.equal(await billing.get('billing/1'), undefined);
  for (const attempt of [
    () => billing.get('users/1'),
    () => billing.put('users/1', 'taken'),
    () => billing.put('billing', 'a key that is shorter than the prefix'),
    () => billing.delete('users/1'),
    () => billing.increment('users/count'),
    () => billing.putIfAbsent('users/2', 'made'),
    () => billing.getWithVersion('users/1'),
  ]) {
    await assert.rejects(attempt(), FORBIDDEN);
  }
  assert.equal(String(await all.get('users/1')), 'first of users/1');
});

test('one prefix, directly: without the data key of all it is told which route to take, and needs none to delete', async () => {
  const billing = await as('billing');
  await all.put('billing/2', 'there');
  for (const attempt of [
    () => billing.get('billing/2'),
    () => billing.put('billing/2', 'x'),
    () => billing.increment('billing/count'),
    () => billing.scan({ prefix: 'billing/' })[Symbol.asyncIterator]().next(),
  ]) {
    await assert.rejects(attempt(), KEYLESS);
  }
  const before = await forbiddenCount();
  await assert.rejects(billing.delete('users/1'), FORBIDDEN);
  await assert.rejects(keysOf(billing, {}), FORBIDDEN);
  await assert.rejects(keysOf(billing, { start: 'billing/', end: 'c' }), FORBIDDEN);
  await assert.rejects(billing.status(), { code: 'NOT_PERMITTED', message: /needs admin/ });
  assert.ok((await forbiddenCount()) >= before + 4, 'replicas have refused it, not the client itself');
  assert.deepEqual(await keysOf(billing, { prefix: 'billing/2' }), ['billing/2']);
  await billing.delete('billing/2');
  assert.equal(await all.get('billing/2'), undefined);
});

test('who may read everything has the data key, and writes nothing', async () => {
  const auditor = await as('auditor');
  assert.equal(String(await auditor.get('users/1')), 'first of users/1');
  assert.ok((await keysOf(auditor, {})).includes('docs/1'));
  assert.equal((await auditor.status()).length, 3);
  for (const attempt of [
    () => auditor.put('users/1', 'x'),
    () => auditor.delete('users/1'),
    () => auditor.increment('n'),
  ]) {
    await assert.rejects(attempt(), FORBIDDEN);
  }
});

test('who may only write reads nothing back, not even by a read-modify-write', async () => {
  const collector = await as('collector', 'coordinated');
  await collector.put('logs/1', 'a line');
  for (const attempt of [
    () => collector.get('logs/1'),
    () => collector.increment('logs/n'),
    () => collector.getAndSet('logs/1', 'x'),
  ]) {
    await assert.rejects(attempt(), FORBIDDEN);
  }
  assert.equal(String(await all.get('logs/1')), 'a line');
});

test('two grants together give a key both rights', async () => {
  const editor = await as('editor', 'coordinated');
  assert.equal(String(await editor.get('docs/1')), 'first of docs/1');
  assert.equal(await editor.increment('docs/draft/n'), 1n);
  await assert.rejects(editor.increment('docs/n'), FORBIDDEN);
});

test('a name that is none, or that nobody has, is an error that says so', async () => {
  await assert.rejects(as('../../etc'), { code: 'INVALID_ARGUMENT', message: /1 to 32 of a-z, 0-9 and -/ });
  await assert.rejects(as('nobody'), { code: 'CLUSTER_FILES', message: /client-nobody\.json is missing/ });
});

test('from CAS a client has the data keys of the spaces that it may read, and of no others', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'avocado-enrolment-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const enrolmentKeyFile = join(directory, 'auditor.json');
  const enrolmentKey = hexOf(makeEnrolmentFile(enrolmentKeyFile).publicKey);
  const chained = await startEmbeddedCluster({
    mode: 'secure',
    chain: {
      vendorLatencyMs: 0,
      spaces: [{ name: 'billing', prefix: Buffer.from('billing/') }],
      profiles: [
        newProfile('default', 'rwa:'),
        newProfile('billing', 'rw:billing/,rw:users/'),
        newProfile('auditor', 'r:', { enrolmentKey }),
      ],
    },
  });
  const billing = await connect({ cluster: chained.directory, as: 'billing' });
  const everybody = await connect({ cluster: chained.directory });
  t.after(async () => {
    await billing.close();
    await everybody.close();
    await chained.stop();
  });
  await billing.put('billing/1', 'mine');
  assert.equal(String(await everybody.get('billing/1')), 'mine');
  assert.equal(String(await billing.get('billing/1')), 'mine');
  await assert.rejects(billing.put('users/1', 'x'), KEYLESS, 'it may, but its grant covers a part of the space only');
  const through = await connect({ cluster: chained.directory, as: 'billing', route: 'coordinated' });
  t.after(() => through.close());
  await through.put('users/1', 'through a replica');
  assert.equal(String(await everybody.get('users/1')), 'through a replica');
  await assert.rejects(through.put('others/1', 'x'), FORBIDDEN);
  const auditor = await connect({ cluster: chained.directory, as: 'auditor', enrolmentKeyFile });
  t.after(() => auditor.close());
  assert.equal(String(await auditor.get('users/1')), 'through a replica');
  await assert.rejects(connect({ cluster: chained.directory, as: 'auditor' }), {
    code: 'ADMISSION_REFUSED',
    message: /rule profile: .*enrolment key/,
  });
  await assert.rejects(
    connect({ cluster: chained.directory, as: 'auditor', enrolmentKeyFile: `${enrolmentKeyFile}.lost` }),
    { code: 'CLUSTER_FILES', message: /is missing: avocado cas enrolment-key makes one/ },
  );
  assert.throws(() => makeEnrolmentFile(enrolmentKeyFile), { code: 'CLUSTER_FILES', message: /is there already/ });
  await assert.rejects(connect({ cluster: chained.directory, as: 'nobody' }), {
    code: 'ADMISSION_REFUSED',
    message: /rule profile: allowed a profile that CAS has; seen nobody/,
  });
});
