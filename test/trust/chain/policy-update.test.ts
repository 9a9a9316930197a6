/** A new policy in a running CAS: who may give one, from when it counts, and what it leaves as it is. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../../workers/signing.ts';
import type { KeyPair } from '../../../workers/signing.ts';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import type { CasSettings } from '../../../src/trust/chain/cas-init.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import { OPERATOR_ANSWER } from '../../../src/trust/chain/messages.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { APPROVAL_LIFE_MS } from '../../../src/trust/chain/policy-in-force.ts';
import { documentJson, signDocument } from '../../../src/trust/chain/signed-document.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { BUILD, Chain, measurementNamed, policyText } from './chain-fixture.ts';

const machine = createSimulatedMachine();
const NEXT_BUILD = measurementNamed('the next build');
const ONE = { members: [{ host: '127.0.0.1', port: 7400 }] };

async function start(t: TestContext, settings: Partial<CasSettings> = {}): Promise<Chain> {
  const chain = await Chain.start({ ...ONE, ...settings });
  t.after(() => chain.close());
  return chain;
}

async function setPolicy(chain: Chain, policy: string, keys = chain.operator): Promise<string> {
  const cas = await chain.connect();
  return sendCommand(cas, keys, { type: 'set-policy', policy, replaces: cas.document.policyHash });
}

async function admit(chain: Chain, measurement = BUILD, lasUrl?: string): Promise<void> {
  const options = { role: 'client', memberIndex: null, wantsDataKeys: true, lasUrl } as const;
  const platform = chain.platform(machine, measurement);
  await join(await chain.connect(), generateStaticKeyPair(), { ...options, platform });
}

function place(chain: Chain): Promise<CasAuthority> {
  return openCasAuthority({
    role: 'replica',
    memberIndex: 0,
    wantsDataKeys: true,
    lasUrl: undefined,
    platform: chain.platform(machine),
    cas: parseCasReference(chain.cas.reference),
    judgement: chain.judgement(),
    timeoutMs: 1_000,
    refreshMs: 60_000,
  }).then((authority) => {
    chain.onClose(async () => authority.close());
    return authority;
  });
}

const auditLog = (chain: Chain): string => readFileSync(joinPath(chain.directory, 'cas', 'audit.log'), 'utf8');

test('the next join is judged by the new policy, in what CAS says its hash is another, and its log has both', async (t) => {
  const chain = await start(t);
  const before = chain.cas.cas.document;
  await assert.rejects(admit(chain, NEXT_BUILD), /rule measurement/);
  assert.match(await setPolicy(chain, policyText(NEXT_BUILD)), /in force from the next join on/);
  await admit(chain, NEXT_BUILD);
  await assert.rejects(admit(chain), /rule measurement/);

  const after = chain.cas.cas.document;
  assert.notEqual(after.policyHash, before.policyHash);
  assert.ok(after.stateCounter > before.stateCounter);
  const entry = auditLog(chain)
    .split('\n')
    .find((line) => line.includes('set-policy'))!;
  for (const part of [before.policyHash, after.policyHash, hexOf(chain.operator.publicKey)])
    assert.ok(entry.includes(part));

  await setPolicy(chain, policyText(BUILD));
  assert.equal(chain.cas.cas.document.policyHash, before.policyHash, 'the hash is of the content alone');
});

test('certificates that were given stay good until they expire, and are not renewed', async (t) => {
  const chain = await start(t, { certificateSeconds: 600 });
  const replica = await place(chain);
  const { certificate } = replica;
  await setPolicy(chain, policyText(NEXT_BUILD));
  chain.aheadMs = 400_000;
  await replica.refresh();
  assert.equal(replica.certificate, certificate);
  const verdictAt = (seconds: number): boolean =>
    replica.verify(certificate, replica.staticKeyPair.publicKey, Date.now() / 1000 + seconds).ok;
  assert.deepEqual([verdictAt(400), verdictAt(601)], [true, false]);
});

test('a LAS that was attested before goes on until its own certificate ends; one that is started anew is judged', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machine);
  await las.attested;
  const { roles, ...head } = JSON.parse(policyText(BUILD)) as { roles: object };
  await setPolicy(chain, JSON.stringify({ ...head, roles: { ...roles, las: [] } }));
  await admit(chain, BUILD, las.url);
  const second = await chain.startLas(createSimulatedMachine());
  await assert.rejects(second.attested, /rule role/);
});

test('it outlives a restart, and a disk from before it is noticed', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machine);
  await las.attested;
  const disk = joinPath(chain.directory, 'cas');
  const kept = joinPath(chain.directory, 'kept');
  cpSync(disk, kept, { recursive: true });
  await setPolicy(chain, policyText(NEXT_BUILD));
  await chain.cas.close();
  await chain.startCas();
  await assert.rejects(admit(chain, BUILD, las.url), /rule measurement/);

  await chain.cas.close();
  rmSync(disk, { recursive: true });
  cpSync(kept, disk, { recursive: true });
  await chain.startCas();
  await assert.rejects(admit(chain, BUILD, las.url), /its disk was turned back/);
});

test('without witnesses it is in force, and the operator is told what that is worth', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machine);
  await las.attested;
  await las.close();
  assert.match(await setPolicy(chain, policyText(NEXT_BUILD)), /only 0 of 1 witnesses .* could take this back unseen/);
});

test("a stranger's policy is refused, and so is one that is none", async (t) => {
  const chain = await start(t);
  const { policyHash } = chain.cas.cas.document;
  await assert.rejects(setPolicy(chain, policyText(NEXT_BUILD), generateSigningKeyPair()), /rule signature/);
  await assert.rejects(setPolicy(chain, '{"format":"avocado-policy","version":1}'), /the policy is wrong, roles: /);
  await assert.rejects(setPolicy(chain, 'no JSON'), /the policy/);
  assert.equal(chain.cas.cas.document.policyHash, policyHash);
  await assert.rejects(admit(chain, NEXT_BUILD), /rule measurement/);
  assert.match(auditLog(chain), /operator-refused/);
  assert.deepEqual(chain.errors, []);
});

test('a command of before does not bring its policy back: not as it was sent, and not signed anew over what it replaced', async (t) => {
  const chain = await start(t);
  const cas = await chain.connect();
  const { clusterId, policyHash: replaces } = cas.document;
  const command = { type: 'set-policy', policy: policyText(NEXT_BUILD), replaces } as const;
  const content = { clusterId, nonce: await cas.nonce(), command };
  const request = {
    operator: hexOf(chain.operator.publicKey),
    document: documentJson(signDocument('operator command', content, chain.operator.secretKey)),
  };
  await cas.call('/v1/operator', request, OPERATOR_ANSWER);
  await setPolicy(chain, policyText(measurementNamed('the one after')));
  await assert.rejects(cas.call('/v1/operator', request, OPERATOR_ANSWER), /rule nonce: .* seen one that was used/);
  await assert.rejects(sendCommand(cas, chain.operator, command), /rule state: allowed a policy that replaces/);
  await assert.rejects(admit(chain, NEXT_BUILD), /rule measurement/);
});

test('with a threshold of two, two operators must want the same policy, within a day', async (t) => {
  const operators = Array.from({ length: 3 }, generateSigningKeyPair) as [KeyPair, KeyPair, KeyPair];
  const [first, second, third] = operators;
  const chain = await start(t, { operators: operators.map((keys) => hexOf(keys.publicKey)), policyThreshold: 2 });
  const { policyHash, policyThreshold } = chain.cas.cas.document;
  assert.equal(policyThreshold, 2);
  const wanted = policyText(NEXT_BUILD);
  assert.match(await setPolicy(chain, wanted, first), /^1 of 2 operators/);
  assert.match(await setPolicy(chain, wanted, first), /^1 of 2 operators/, 'one counts once');
  assert.match(await setPolicy(chain, policyText(BUILD), second), /^1 of 2 operators/, 'another policy');
  chain.aheadMs = APPROVAL_LIFE_MS + 1_000;
  assert.match(await setPolicy(chain, wanted, third), /^1 of 2 operators/, 'a day later');
  assert.equal(chain.cas.cas.document.policyHash, policyHash);
  await assert.rejects(admit(chain, NEXT_BUILD), /rule measurement/);
  assert.match(await setPolicy(chain, wanted, second), /in force/);
  await admit(chain, NEXT_BUILD);
  // What was said for it is used up.
  await setPolicy(chain, policyText(BUILD), first);
  await setPolicy(chain, policyText(BUILD), second);
  assert.match(await setPolicy(chain, wanted, first), /^1 of 2 operators/);
});

test('a threshold that its operators can not reach is none', async () => {
  for (const policyThreshold of [0, 2]) {
    await assert.rejects(Chain.start({ policyThreshold }), {
      code: 'INVALID_ARGUMENT',
      message: /from 1 to their count, 1/,
    });
  }
});
