/** CAS, LAS, replicas and clients as operators start them: processes of their own, found by the CAS reference alone. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { makeSandbox } from './avocado-process.ts';
import type { Finished } from './avocado-process.ts';
import { ProcessChain } from './process-chain.ts';

test('a cluster of one by CAS and LAS: put and get, an outage of CAS, its restart, its log', async (t) => {
  const sandbox = makeSandbox();
  t.after(() => sandbox.remove());
  const chain = await ProcessChain.start(sandbox, (end) => t.after(end), { memberCount: 1 });
  const { reference, lasUrl } = chain;
  const path = (name: string): string => chain.path(name);
  const run = (...args: string[]): Promise<Finished> => chain.run(...args);
  const machine = ['--machine', chain.machine];
  const replica = chain.service('replica', '--index', '0', '--cas', reference, '--las', lasUrl);
  await replica.says(/active/);

  assert.equal((await run('put', 'k', 'v', '--cluster', reference)).stdout, 'ok\n');
  const got = await run('get', 'k', '--cluster', reference);
  assert.deepEqual([got.stdout, got.stderr, got.exitCode], ['v', '', 0]);

  const attested = await run('attest', 'verify', reference, '--policy', 'dev', '--role', 'cas');
  assert.match(attested.stdout, /^accepted as cas \(simulated: gives no confidentiality\)\n/);
  assert.equal(attested.exitCode, 0);
  const policy = path('policy.json');
  writeFileSync(policy, '{"format":"avocado-policy","version":1,"roles":{"client":[{}]}}');
  const operator = ['--operator-key', path('operator.json'), '--cas', reference, ...machine];
  const wrong = await run('cas', 'set-policy', policy, ...operator);
  assert.match(wrong.stderr, /^error EVIDENCE_FILES: \S+policy\.json is wrong, roles\.client\[0\]/);
  const entries = [{ kind: 'simulated', measurements: [(await run('measure')).stdout.trim()] }];
  const roles = { cas: entries, las: entries, replica: entries, client: [] };
  const closed = JSON.stringify({ format: 'avocado-policy', version: 1, roles });
  writeFileSync(policy, closed);
  assert.match(
    (await run('cas', 'set-policy', policy, ...operator)).stdout,
    /^policy and settings [0-9a-f]{64} are in force/,
  );
  assert.match((await run('get', 'k', '--cluster', reference)).stderr, /^error ADMISSION_REFUSED: .*rule role/);
  writeFileSync(policy, closed.replace('"client":[]', `"client":${JSON.stringify(entries)}`));
  assert.equal((await run('cas', 'set-policy', policy, ...operator)).exitCode, 0);
  const shown = await run('cas', 'show', '--cas', reference, '--json', ...machine);
  const { verdict, document } = JSON.parse(shown.stdout) as { verdict: string; document: Record<string, unknown> };
  assert.equal(verdict, 'accepted');
  assert.equal(document['policyThreshold'], 1);
  const head = `${String(document['auditCount'])}:${String(document['auditHead'])}`;
  const log = path('cas/audit.log');
  const whole = await run('audit', 'verify', log, '--key', reference, '--head', head, '--list');
  assert.match(whole.stdout, /admitted {2}role=replica memberIndex=0 .*\n(.*\n)*whole: 8 entries/);
  assert.equal(whole.exitCode, 0);

  const listed = await run('cas', 'profiles', ...operator);
  assert.match(
    listed.stdout,
    /^profile {2}grants {2}builds {2}enrolment key {2}clients\ndefault {2}rwa: {4}any {5}none {11}\d+\n/,
  );
  assert.match(listed.stdout, /\n[0-9a-f]{64} {2}default {2}\S+Z {2}\S+Z {2}LAS [0-9a-f]{16}\n/);
  const { profiles, clients } = JSON.parse((await run('cas', 'profiles', '--json', ...operator)).stdout) as {
    profiles: object[];
    clients: object[];
  };
  assert.deepEqual(profiles, [{ name: 'default', grants: 'rwa:', measurements: null, enrolmentKey: null }]);
  assert.equal(clients.length, 2, 'one for each put and get that was admitted');

  await chain.cas.end();
  const down = await run('get', 'k', '--cluster', reference, '--timeout', '1s');
  assert.match(down.stderr, /^error TRUST_UNAVAILABLE: CAS https:\S+ can't be reached \(ECONNREFUSED\): start it/);
  assert.equal(down.exitCode, 1);

  await chain.startCas();
  assert.equal((await run('get', 'k', '--cluster', reference)).stdout, 'v');
  await chain.cas.end();

  const edited = readFileSync(log, 'utf8').replace('127.0.0.1', '127.0.0.2');
  writeFileSync(log, edited);
  const missing = await run('audit', 'verify', path('audit.log'), '--key', reference);
  assert.match(missing.stderr, /^error: \S+audit\.log is missing: give audit\.log of CAS's directory\n$/);
  assert.equal(missing.exitCode, 2);
  const broken = await run('audit', 'verify', log, '--key', reference);
  assert.match(broken.stderr, /audit\.log is not whole, line \d+: it is not signed by the cluster key\n$/);
  assert.equal(broken.exitCode, 1);
  const refused = await run('cas', 'run', path('cas'), '--listen', '127.0.0.1:0', ...machine);
  assert.match(refused.stderr, /^error CLUSTER_FILES: \S+audit\.log was changed, line \d+/);
});
