/** The host of CAS at its worst: its disk, its clock, its network, and the same state in two processes. */
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateStaticKeyPair } from '../../../workers/signing.ts';
import { bytesOfHex, hexOf } from '../../../src/trust/hex.ts';
import { writeEvidence } from '../../../src/trust/evidence/evidence-file.ts';
import { verifyAuditLog } from '../../../src/trust/chain/audit-log.ts';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import { CONFIGURATION_ANSWER } from '../../../src/trust/chain/messages.ts';
import type { JoinRequest, OperatorCommand } from '../../../src/trust/chain/messages.ts';
import { NONCE_LIFE_MS, Nonces } from '../../../src/trust/chain/nonces.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { EvidenceJudge } from '../../../src/trust/chain/platform.ts';
import { newProfile } from '../../../src/trust/chain/profiles.ts';
import { joinReportData } from '../../../src/trust/chain/report-data.ts';
import { signDocument } from '../../../src/trust/chain/signed-document.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { until } from '../../processes/until.ts';
import { Chain } from './chain-fixture.ts';

const machines = Array.from({ length: 3 }, createSimulatedMachine);
const ONE = { members: [{ host: '127.0.0.1', port: 7400 }] };
const LATER = 'TRUST_UNAVAILABLE';

async function start(t: TestContext, settings = {}): Promise<Chain> {
  const chain = await Chain.start({ ...ONE, ...settings });
  t.after(() => chain.close());
  return chain;
}

async function place(
  chain: Chain,
  index: number | null,
  { lasUrl, onWaiting = () => {} }: { lasUrl?: string; onWaiting?: (reason: string) => void } = {},
): Promise<CasAuthority> {
  const cas = { ...parseCasReference(chain.cas.reference) };
  const authority = await openCasAuthority({
    role: index === null ? 'client' : 'replica',
    memberIndex: index,
    wantsDataKeys: true,
    lasUrl,
    platform: chain.platform(machines[0]!),
    cas,
    judgement: chain.judgement(),
    timeoutMs: 2_000,
    refreshMs: 60_000,
    onWaiting,
  });
  chain.onClose(async () => authority.close());
  references.set(authority, cas);
  return authority;
}

/** Where each of them looks for CAS. */
const references = new Map<CasAuthority, ReturnType<typeof parseCasReference>>();

/** A CAS that is started anew listens elsewhere here. */
function retarget(authority: CasAuthority, reference: string): void {
  Object.assign(references.get(authority)!, parseCasReference(reference));
}

async function admit(chain: Chain): Promise<string> {
  const keys = generateStaticKeyPair();
  const options = { role: 'client', memberIndex: null, wantsDataKeys: true, lasUrl: undefined } as const;
  await join(await chain.connect(), keys, { ...options, platform: chain.platform(machines[0]!) });
  return hexOf(keys.publicKey);
}

async function command(chain: Chain, wish: OperatorCommand): Promise<string> {
  return sendCommand(await chain.connect(), chain.operator, wish);
}

async function confirmed(chain: Chain): Promise<void> {
  const { stateCounter } = chain.cas.cas.document;
  await command(chain, { type: 'confirm-state', stateCounter });
}

const pathOf = (chain: Chain, name = ''): string => joinPath(chain.directory, 'cas', name);

/** A CAS that anybody can begin again from the files that it had. */
function copyOf(chain: Chain, name: string): string {
  const copy = joinPath(chain.directory, name);
  cpSync(pathOf(chain), copy, { recursive: true });
  return copy;
}

test('should start after it ended in the middle of an entry of its log, and go on with a whole one', async (t) => {
  for (const tornOf of [() => '{"content":"{\\"ind', (entry: string) => entry]) {
    const chain = await start(t);
    await admit(chain);
    await chain.cas.close();
    const path = pathOf(chain, 'audit.log');
    const key = bytesOfHex(chain.cas.cas.document.clusterPublicKey);
    const torn = tornOf(readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)!);
    appendFileSync(path, torn);
    const before = verifyAuditLog(path, key);
    assert.ok(before.ok && before.tornBytes === torn.length);
    await chain.startCas();
    await confirmed(chain);
    await admit(chain);
    const after = verifyAuditLog(path, key);
    assert.ok(after.ok && after.tornBytes === 0 && after.head.count === before.head.count + 2);
  }
});

test('should take no entry of its state for one that was not finished', async (t) => {
  const chain = await start(t);
  await admit(chain);
  await chain.cas.close();
  const path = pathOf(chain, 'audit.log');
  writeFileSync(path, readFileSync(path, 'utf8').trimEnd(), { mode: 0o600 });
  await assert.rejects(chain.startCas(), { code: 'CLUSTER_FILES', message: /it ends here, and CAS knows \d+ entries/ });
});

test('should decide nothing more when its log was written by another, or can not be written, and forget what it had begun', async (t) => {
  for (const spoil of [
    (path: string): void => appendFileSync(path, 'x\n'),
    (path: string): void => {
      renameSync(path, `${path}.away`);
      mkdirSync(path);
    },
  ]) {
    const chain = await start(t);
    const client = await place(chain, 0).then(() => place(chain, null));
    const path = pathOf(chain, 'audit.log');
    const log = readFileSync(path);
    spoil(path);
    const staticKey = hexOf(client.staticKeyPair.publicKey);
    await assert.rejects(command(chain, { type: 'revoke-key', staticKey }), { code: LATER });
    assert.equal(chain.cas.cas.isServing, false);
    assert.match(String(chain.errors.at(-1)), /another one writes to it|can't be written \(EISDIR\)/);
    await assert.rejects(admit(chain), { code: LATER, message: /its audit log could not be written: start it anew/ });
    const cas = await chain.connect();
    await assert.rejects(cas.call('/v1/configuration', {}, CONFIGURATION_ANSWER), { code: LATER });
    await chain.cas.close();
    rmSync(path, { recursive: true });
    writeFileSync(path, log, { mode: 0o600 });
    await chain.startCas();
    await confirmed(chain);
    await client.refresh();
    assert.equal(client.isRevoked(staticKey, 0), false, 'nothing that is not in the log is in force');
    assert.match(await command(chain, { type: 'revoke-key', staticKey }), /revoked/);
  }
});

test('should not be made where the backup of another cluster lies', async (t) => {
  const chain = await start(t);
  await chain.cas.close();
  const alone = joinPath(chain.directory, 'alone');
  mkdirSync(alone);
  cpSync(pathOf(chain, 'cas-backup.sealed'), joinPath(alone, 'cas-backup.sealed'));
  await assert.rejects(chain.startCas(chain.settings(), alone), { code: 'CLUSTER_FILES', message: /or its backup/ });
});

test('should hand out neither members nor revocations from a state that nobody has confirmed', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  await place(chain, 0, { lasUrl: las.url });
  const before = copyOf(chain, 'before');
  await command(chain, { type: 're-form' });
  await chain.cas.close();
  await chain.startCas(undefined, before);
  const cas = await chain.connect();
  await assert.rejects(cas.call('/v1/configuration', {}, CONFIGURATION_ANSWER), {
    code: LATER,
    message: /turned back/,
  });
});

test('should not be taken for the one that was joined, by who was admitted in a later state', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  await place(chain, 0, { lasUrl: las.url });
  const first = chain.cas;
  const second = await chain.startCas(undefined, copyOf(chain, 'second'));
  const reasons: string[] = [];
  const client = await place(chain, null, { lasUrl: las.url, onWaiting: (reason) => reasons.push(reason) });
  await client.refresh();
  assert.deepEqual(reasons, []);
  assert.ok(first.cas.isServing, 'until it writes, it does not know better');
  retarget(client, first.reference);
  await second.close();
  await client.refresh();
  await client.refresh();
  assert.match(reasons.at(-1)!, /CAS answers from state \d+, and was in \d+ before: .* two of it/);
});

test('should tell nobody what a crash would take back', async (t) => {
  const chain = await start(t);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  const { cas } = chain.cas;
  const request = await requestOf(chain, { role: 'replica', memberIndex: 0, profile: null });
  // The first write is under way until the witness answers, and the second waits for it.
  const writing = cas.operate(signed(chain, { type: 'rotate-key', space: 'default' }), '');
  const joined = cas.join(request, '');
  assert.deepEqual(cas.configuration().missing, [0]);
  await Promise.all([writing, joined]);
  assert.deepEqual(cas.configuration().missing, []);
});

/** As the service hands it to CAS. */
function signed(chain: Chain, wish: OperatorCommand): { operator: string; document: ReturnType<typeof signDocument> } {
  const { cas } = chain.cas;
  const content = { clusterId: cas.document.clusterId, nonce: cas.nonce().nonce, command: wish };
  const document = signDocument('operator command', content, chain.operator.secretKey);
  return { operator: hexOf(chain.operator.publicKey), document };
}

async function requestOf(
  chain: Chain,
  about: Pick<JoinRequest, 'role' | 'memberIndex' | 'profile'> & { staticKey?: string },
): Promise<JoinRequest> {
  const claim = {
    staticKey: hexOf(generateStaticKeyPair().publicKey),
    deliveryKey: hexOf(generateStaticKeyPair().publicKey),
    nonce: chain.cas.cas.nonce().nonce,
    ...about,
  };
  const evidence = await chain.platform(machines[0]!).provider.makeEvidence(joinReportData(claim));
  const proof = { type: 'evidence', evidence: writeEvidence(evidence) } as const;
  return { ...claim, wantsDataKeys: true, enrolment: null, proof };
}

test('should give neither certificate nor keys to who lost its right while it was admitted', async (t) => {
  const profiles = [newProfile('default', 'rwa:'), newProfile('a', 'rw:'), newProfile('b', 'r:')];
  const chain = await start(t, { profiles, admission: 'both' });
  const las = await chain.startLas(machines[1]!);
  await las.attested;
  const { cas } = chain.cas;
  const narrower = { type: 'set-profile', profile: newProfile('b', 'w:'), replaces: '' } as const;
  const client = { role: 'client', memberIndex: null } as const;
  const staticKey = 'ab'.repeat(32);
  for (const [about, wish, why] of [
    [{ ...client, profile: 'a' }, { type: 'remove-profile', name: 'a' }, /rule profile/],
    [{ ...client, profile: 'b' }, narrower, /the profile has changed/],
    [{ ...client, profile: 'default', staticKey }, { type: 'revoke-key', staticKey }, /rule key-revoked/],
    [{ role: 'replica', memberIndex: 0, profile: null }, { type: 're-form' }, /rule key-revoked/],
  ] as const) {
    const request = await requestOf(chain, about);
    const joining = cas.join(request, '');
    const replaces = cas.document.policyHash;
    const done = cas.operate(signed(chain, wish.type === 'set-profile' ? { ...wish, replaces } : wish), '');
    await assert.rejects(joining, why);
    await done;
  }
  await cas.join(await requestOf(chain, { ...client, profile: 'default' }), '');
});

test('should take new witnesses one at a time, so that none are outvoted; and none without a platform of its own', async (t) => {
  const chain = await start(t);
  const first = await chain.startLas(machines[0]!);
  await first.attested;
  // Who does not answer may hold a later state.
  await first.close();
  const more = [await chain.startLas(machines[1]!), await chain.startLas(machines[2]!)];
  for (const las of more) las.attested.catch(() => {});
  const waiting = (): string[] => chain.lasEvents.flatMap((event) => (event.type === 'waiting' ? event.reason : []));
  await until(() => waiting().length >= 2, 'both of them to be told to wait');
  for (const reason of waiting()) assert.match(reason, /0 of 1 witnesses that CAS needs hold its state/);
  assert.equal(chain.events.filter(({ type }) => type === 'las-attested').length, 1);
  await command(chain, { type: 'revoke-las', lasId: lasIdOf(chain, 0) });
  await Promise.all(more.map(({ attested }) => attested));

  const other = new Chain();
  t.after(() => other.close());
  other.judge = new (class extends EvidenceJudge {
    override verify(...asked: Parameters<EvidenceJudge['verify']>): ReturnType<EvidenceJudge['verify']> {
      const verification = super.verify(...asked);
      if (!verification.ok) return verification;
      return { ok: true, facts: { ...verification.facts, platformId: undefined } };
    }
  })();
  await other.startCas(other.settings());
  await assert.rejects((await other.startLas(machines[0]!)).attested, /rule platform: allowed a platform with an id/);
});

function lasIdOf(chain: Chain, index: number): string {
  return chain.events.flatMap((event) => (event.type === 'las-attested' ? event.lasId : []))[index]!;
}

test('should go on from a restored state in such a way that who has seen a later one takes what comes, and loses no key', async (t) => {
  const chain = await start(t, { refreshSeconds: 1 });
  const member = await place(chain, 0);
  const client = await place(chain, null);
  const { dataKeys } = member;
  await member.refresh();
  const before = copyOf(chain, 'before');
  const look = async (aheadMs = 0): Promise<void> => {
    chain.aheadMs += aheadMs;
    await chain.cas.cas.tick();
    await member.refresh();
    await client.refresh();
  };
  // The key that the older state has is destroyed everywhere, and the present one it does not know.
  await command(chain, { type: 'rotate-key', space: 'default' });
  for (let i = 0; dataKeys.keyIds.includes(1); i++) {
    assert.ok(i < 20);
    for (const id of dataKeys.retiringIds) dataKeys.noteUse(id, 0, dataKeys.isClosing(id));
    await look(5_000);
  }
  assert.deepEqual(dataKeys.keyIds, [2]);
  const lost = await admit(chain);
  await command(chain, { type: 'revoke-key', staticKey: lost });
  await look();
  await chain.cas.close();

  await chain.startCas(undefined, before);
  for (const authority of [member, client]) retarget(authority, chain.cas.reference);
  await confirmed(chain);
  await look();
  await look();
  for (const { dataKeys: ring } of [member, client]) {
    assert.deepEqual(
      [...ring.keyIds].toSorted((a, b) => a - b),
      [1, 2],
      'the one to seal under, and the one that values lie under',
    );
    assert.equal(ring.spaces[0]!.currentId, 1);
    assert.deepEqual(ring.retiringIds, [2], 'values are taken away from what CAS does not know');
  }
  const staticKey = await admit(chain);
  await command(chain, { type: 'revoke-key', staticKey });
  await look();
  assert.equal(member.isRevoked(staticKey, 0), true, 'a revocation is taken, though members have seen later lists');
  assert.match(await command(chain, { type: 'rotate-key', space: 'default' }), /data key 1026 /, 'not 2 again');
  assert.match(
    await command(chain, { type: 're-form' }),
    /epoch 1026 /,
    'nor an epoch that a lost state may have begun',
  );
});

test('should not take a nonce twice, whatever is done to the clock', () => {
  const nonces = new Nonces();
  const nowMs = 1_000_000;
  const nonce = nonces.issue(nowMs);
  assert.equal(nonces.use(nonce, nowMs), 'fresh');
  const other = nonces.issue(nowMs);
  const late = nonces.issue(nowMs + NONCE_LIFE_MS + 1);
  assert.equal(nonces.use(late, nowMs + 2 * NONCE_LIFE_MS), 'fresh', 'what expired is forgotten');
  assert.equal(nonces.use(nonce, nowMs), 'expired', 'and stays so when the clock is put back');
  assert.equal(nonces.use(other, nowMs), 'expired');
  assert.equal(nonces.ageMs(late, nowMs), NONCE_LIFE_MS - 1);
});
