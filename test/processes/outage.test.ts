/**
 * CAS and LAS down, as processes that were killed: data operations and new sessions go on, and whoever wants to join waits and
 * says for whom, until it is back.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { openAttackClient } from '../../bench/attack/attack-client.ts';
import { writeChainAccess } from '../../src/trust/chain/chain-access.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import { makeSandbox } from '../cli/avocado-process.ts';
import { ProcessChain } from '../cli/process-chain.ts';
import type { Service } from '../cli/service.ts';

const MEMBERS = [0, 1, 2];
/** So that members look at CAS, in vain, while it is away. */
const REFRESH_MS = 100;
const ROUNDS = 50;

test('data operations go on without CAS and LAS; joins wait, and say for which of them', async (t) => {
  const sandbox = makeSandbox();
  t.after(() => sandbox.remove());
  const chain = await ProcessChain.start(sandbox, (end) => t.after(end), { memberCount: MEMBERS.length });
  const { reference: cas, lasUrl: las } = chain;
  const cluster = chain.path('cluster');
  mkdirSync(cluster, { mode: 0o700 });
  writeChainAccess(cluster, { cas, las, tee: 'simulated', machine: chain.machine, refreshMs: REFRESH_MS });
  const get = (timeout: string) => chain.run('get', 'k', '--cluster', cluster, '--timeout', timeout);

  // Replicas that are started before there is a CAS.
  await chain.cas.end('SIGKILL');
  const replicas: Service[] = MEMBERS.map((index) =>
    chain.service('replica', '--index', String(index), '--cluster', cluster),
  );
  for (const replica of replicas)
    await replica.says(/joining: CAS https:\S+ can't be reached \(ECONNREFUSED\): start it/);
  await chain.startCas();
  for (const replica of replicas) await replica.says(/ active/);

  const authority = await obtainAuthority(cluster, { role: 'client' }, { timeoutMs: 20_000 });
  t.after(() => authority.close?.());
  const { client } = await openAttackClient(authority);
  t.after(() => client.close());
  const dataGoesOn = async (when: string): Promise<void> => {
    for (let i = 0; i < ROUNDS; i++) {
      await client.put('k', `${when} ${i}`);
      assert.equal(String(await client.get('k')), `${when} ${i}`);
    }
    const other = await openAttackClient(authority);
    assert.equal(String(await other.client.get('k')), `${when} ${ROUNDS - 1}`, 'in sessions that are new');
    await other.client.close();
  };
  await dataGoesOn('all there');

  await chain.las.end('SIGKILL');
  await dataGoesOn('no LAS');
  const withoutLas = await get('1s');
  assert.match(
    withoutLas.stderr,
    /^error TRUST_UNAVAILABLE: LAS https:\S+ can't be reached \(ECONNREFUSED\): start it/,
  );
  const waitingForLas = get('60s');
  await chain.startLas();
  assert.equal((await waitingForLas).stdout, `no LAS ${ROUNDS - 1}`);

  await chain.cas.end('SIGKILL');
  for (const replica of replicas) await replica.says(/warning: CAS https:\S+ can't be reached .*; what runs goes on/);
  await dataGoesOn('no CAS');
  const withoutCas = await get('1s');
  assert.match(
    withoutCas.stderr,
    /^error TRUST_UNAVAILABLE: CAS https:\S+ can't be reached \(ECONNREFUSED\): start it/,
  );
  await chain.las.end('SIGKILL');
  await dataGoesOn('neither');

  // Their state witness is gone with them: an operator says that this state is the newest.
  const again = chain.service('cas', 'run', chain.path('cas'), '--listen', new URL(cas).host);
  const [, counter] = await again.says(/cas confirm (\d+) /);
  const waitingForAll = get('60s');
  const operator = ['--operator-key', chain.path('operator.json'), '--machine', chain.machine];
  const confirmed = await chain.run('cas', 'confirm', counter!, '--cas', cas, ...operator);
  assert.match(confirmed.stdout, /^CAS serves from state/);
  await chain.startLas();
  const { stdout, stderr } = await waitingForAll;
  assert.equal(stdout, `neither ${ROUNDS - 1}`, stderr);
  for (const { text } of replicas) assert.doesNotMatch(text, /outside|TRUST_UNAVAILABLE|failed/);
});
