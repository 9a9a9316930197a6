/** Which client gets which grants and data keys: profiles, their conditions, and operators who change them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../../workers/signing.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import type { Admission, JoinOptions } from '../../../src/trust/chain/join-cluster.ts';
import { JOIN_ANSWER } from '../../../src/trust/chain/messages.ts';
import type { OperatorCommand } from '../../../src/trust/chain/messages.ts';
import { askProfiles, sendCommand } from '../../../src/trust/chain/operator.ts';
import { newProfile, signEnrolment } from '../../../src/trust/chain/profiles.ts';
import type { Profile } from '../../../src/trust/chain/profiles.ts';
import { joinReportData } from '../../../src/trust/chain/report-data.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { verifyCertificate } from '../../../src/trust/certificate.ts';
import { grantsText } from '../../../src/trust/grant-text.ts';
import { bytesOfHex, hexOf } from '../../../src/trust/hex.ts';
import { writeEvidence } from '../../../src/trust/evidence/evidence-file.ts';
import { BUILD, Chain, measurementNamed } from './chain-fixture.ts';

const machine = createSimulatedMachine();
const enrolment = generateSigningKeyPair();
const spaces = [
  { name: 'users', prefix: Buffer.from('users/') },
  { name: 'vips', prefix: Buffer.from('users/vip/') },
];
/** Ids in the order of the spaces: 1 default, 2 users, 3 vips. */
const PROFILES = [
  newProfile('default', 'r:users/vip/,w:'),
  newProfile('users', 'rw:users/'),
  newProfile('all', 'r:'),
  newProfile('builds', 'rwa:', { measurements: [hexOf(measurementNamed('a tool')), hexOf(BUILD)] }),
  newProfile('others', 'rwa:', { measurements: [hexOf(measurementNamed('a tool'))] }),
  newProfile('enrolled', 'rwa:', { enrolmentKey: hexOf(enrolment.publicKey) }),
];
let chain: Chain;

before(async () => {
  chain = await Chain.start({ spaces, profiles: PROFILES });
});
after(() => chain.close());

async function admitted(about: Partial<JoinOptions>): Promise<Admission & { grants: string; keyIds: number[] }> {
  const keys = generateStaticKeyPair();
  const cas = await chain.connect();
  const admission = await join(cas, keys, {
    role: 'client',
    memberIndex: null,
    wantsDataKeys: true,
    platform: chain.platform(machine),
    lasUrl: undefined,
    ...about,
  });
  const verdict = verifyCertificate(admission.certificate, {
    clusterId: bytesOfHex(cas.document.clusterId),
    clusterPublicKey: cas.clusterPublicKey,
    staticKey: keys.publicKey,
    nowSeconds: chain.nowMs() / 1000,
  });
  assert.ok(verdict.ok);
  const keyIds = (admission.keys?.keys ?? []).map(({ id }) => id).toSorted((a, b) => a - b);
  return { ...admission, grants: grantsText(verdict.identity.permissions.grants), keyIds };
}

async function refused(about: Partial<JoinOptions>, why: RegExp): Promise<void> {
  await assert.rejects(admitted(about), { code: 'ADMISSION_REFUSED', message: why });
}

async function command(what: OperatorCommand): Promise<string> {
  return sendCommand(await chain.connect(), chain.operator, what);
}

async function setProfile(profile: Profile, on = chain, keys = on.operator): Promise<string> {
  const cas = await on.connect();
  return sendCommand(cas, keys, { type: 'set-profile', profile, replaces: cas.document.policyHash });
}

test('the certificate has the grants of the profile, and the data keys are of the spaces that they cover', async () => {
  for (const [profile, grants, keyIds] of [
    [undefined, 'r:users/vip/,w:', [3]],
    ['users', 'rw:users/', [2, 3]],
    ['all', 'r:', [1, 2, 3]],
  ] as const) {
    const admission = await admitted({ profile });
    assert.equal(admission.grants, grants);
    assert.deepEqual(admission.keyIds, keyIds, 'none of a space of which a part only may be read, or may be written');
  }
  const { grants, keyIds } = await admitted({ role: 'replica', memberIndex: 0 });
  assert.deepEqual([grants, keyIds], ['rwa:', [1, 2, 3]], 'a replica has all of both');
});

test('a profile for some builds is refused to others', async () => {
  assert.equal((await admitted({ profile: 'builds' })).grants, 'rwa:');
  await refused(
    { profile: 'others' },
    new RegExp(`rule profile: allowed others for builds ${'[0-9a-f]{96}'}; seen ${hexOf(BUILD)}`),
  );
});

test('a profile with an enrolment key is for those who sign with it, each join anew', async () => {
  assert.equal((await admitted({ profile: 'enrolled', enrolmentKey: enrolment.secretKey })).grants, 'rwa:');
  await refused({ profile: 'enrolled' }, /rule profile: .*signed for by enrolment key [0-9a-f]{64}; seen none/);
  const another = generateSigningKeyPair().secretKey;
  await refused({ profile: 'enrolled', enrolmentKey: another }, /rule profile: .*seen another signature/);

  const cas = await chain.connect();
  const claimOf = async (profile: string) => ({
    role: 'client' as const,
    memberIndex: null,
    nonce: await cas.nonce(),
    staticKey: hexOf(generateStaticKeyPair().publicKey),
    deliveryKey: hexOf(generateStaticKeyPair().publicKey),
    profile,
  });
  const ask = async (claim: Awaited<ReturnType<typeof claimOf>>, signed: typeof claim) => {
    const evidence = await chain.platform(machine).provider.makeEvidence(joinReportData(claim));
    const signature = Buffer.from(signEnrolment(joinReportData(signed), enrolment.secretKey)).toString('base64');
    const proof = { type: 'evidence', evidence: writeEvidence(evidence) };
    return cas.call('/v1/join', { ...claim, wantsDataKeys: false, enrolment: signature, proof }, JOIN_ANSWER);
  };
  const own = await claimOf('enrolled');
  await assert.rejects(
    ask(own, { ...own, staticKey: 'ab'.repeat(32) }),
    /seen another signature/,
    "another's signature",
  );
  const again = await claimOf('enrolled');
  await assert.rejects(ask(again, { ...again, nonce: own.nonce }), /seen another signature/, 'that of an earlier join');
  await ask(await claimOf('all'), await claimOf('all'));
});

test('the profile is bound in the evidence: none is exchanged on the way', async () => {
  const cas = await chain.connect();
  const claim = {
    role: 'client' as const,
    memberIndex: null,
    nonce: await cas.nonce(),
    staticKey: hexOf(generateStaticKeyPair().publicKey),
    deliveryKey: hexOf(generateStaticKeyPair().publicKey),
    profile: 'users',
  };
  const evidence = await chain.platform(machine).provider.makeEvidence(joinReportData(claim));
  const proof = { type: 'evidence', evidence: writeEvidence(evidence) };
  const exchanged = { ...claim, profile: 'all', wantsDataKeys: true, enrolment: null, proof };
  await assert.rejects(cas.call('/v1/join', exchanged, JOIN_ANSWER), /rule report-data/);
});

test('operators set and remove profiles, for joins from then on; the log and the hash of the settings show it', async () => {
  const hashBefore = chain.cas.cas.document.policyHash;
  assert.match(await setProfile(newProfile('new', 'r:users/')), /in force from the next join on/);
  assert.deepEqual((await admitted({ profile: 'new' })).keyIds, [2, 3]);
  assert.notEqual(chain.cas.cas.document.policyHash, hashBefore);
  await assert.rejects(
    command({ type: 'set-profile', profile: newProfile('new', 'r:'), replaces: hashBefore }),
    /a policy that replaces/,
    'what was signed for settings of before does not count once more',
  );
  await setProfile(newProfile('new', 'a:'));
  assert.deepEqual((await admitted({ profile: 'new' })).keyIds, []);
  assert.match(await command({ type: 'remove-profile', name: 'new' }), /removed profile new/);
  await refused({ profile: 'new' }, /rule profile: allowed a profile that CAS has; seen new/);
  await assert.rejects(
    command({ type: 'remove-profile', name: 'new' }),
    /there is no profile new; known are default, /,
  );
  assert.equal(chain.cas.cas.document.policyHash, hashBefore);
});

test('a new profile takes as many operators as a new policy, and one takes it away', async (t) => {
  const second = generateSigningKeyPair();
  const two = new Chain();
  t.after(() => two.close());
  const operators = [hexOf(two.operator.publicKey), hexOf(second.publicKey)];
  await two.startCas(two.settings({ operators, policyThreshold: 2 }));
  const profile = newProfile('all', 'rwa:');
  assert.match(await setProfile(profile, two), /1 of 2 operators that it needs/);
  assert.match(await setProfile(profile, two), /1 of 2 operators that it needs/, 'the same one twice');
  assert.match(await setProfile(newProfile('all', 'r:'), two, second), /1 of 2 /, 'another profile of that name');
  assert.match(await setProfile(profile, two, second), /in force from the next join on/);
  const log = readFileSync(joinPath(two.directory, 'cas', 'audit.log'), 'utf8');
  assert.match(log, /set-profile.*rwa:/);
  await sendCommand(await two.connect(), second, { type: 'remove-profile', name: 'all' });
});

test('settings with two profiles of one name are refused', async () => {
  const profiles = [newProfile('default', 'r:'), newProfile('default', 'w:')];
  await assert.rejects(chain.startCas(chain.settings({ profiles }), `${chain.directory}/other`), {
    code: 'INVALID_ARGUMENT',
    message: /profiles, each of another name/,
  });
});

test('operators are told who has a certificate by which profile and until when, also after a restart; nobody else is', async (t) => {
  const other = await Chain.start({ profiles: PROFILES, members: [{ host: '127.0.0.1', port: 7400 }] });
  t.after(() => other.close());
  const las = await other.startLas(machine);
  await las.attested;
  const enter = async (profile: string, about: Partial<JoinOptions> = {}): Promise<string> => {
    const keys = generateStaticKeyPair();
    const options = {
      role: 'client',
      memberIndex: null,
      wantsDataKeys: true,
      platform: other.platform(machine),
    } as const;
    await join(await other.connect(), keys, { ...options, lasUrl: las.url, profile, ...about });
    return hexOf(keys.publicKey);
  };
  const tell = async (what: OperatorCommand): Promise<string> =>
    sendCommand(await other.connect(), other.operator, what);
  const ask = async () => askProfiles(await other.connect(), other.operator);
  const sinceMs = other.nowMs() - 1;
  const first = await enter('users');
  const second = await enter('enrolled', { enrolmentKey: enrolment.secretKey, lasUrl: undefined });
  const third = await enter('all');
  await enter('all', { role: 'replica', memberIndex: 0 });

  const list = await ask();
  assert.deepEqual(list.profiles, PROFILES);
  assert.deepEqual([list.clientCount, list.isWhole], [3, true]);
  assert.deepEqual(
    list.clients.map(({ staticKey, profile, lasId }) => [staticKey, profile, lasId === null]),
    [
      [third, 'all', false],
      [second, 'enrolled', true],
      [first, 'users', false],
    ],
  );
  for (const client of list.clients) {
    assert.ok(client.sinceMs >= sinceMs && client.sinceMs <= other.nowMs());
    assert.ok(Math.abs(client.expirySeconds - (client.sinceMs / 1000 + 3_600)) < 30, 'by the settings of this chain');
  }
  const text = JSON.stringify(list);
  const secrets = [hexOf(enrolment.secretKey), hexOf(enrolment.secretKey.subarray(0, 32))];
  assert.ok(secrets.every((secret) => !text.includes(secret)));

  await other.cas.close();
  await other.startCas();
  await tell({ type: 'revoke-key', staticKey: third });
  await tell({ type: 'remove-profile', name: 'users' });
  await tell({
    type: 'set-profile',
    profile: newProfile('enrolled', 'r:'),
    replaces: (await other.connect()).document.policyHash,
  });
  const later = await ask();
  assert.deepEqual(
    later.clients.map(({ staticKey, profile, hasGrantsOfNow }) => [staticKey, profile, hasGrantsOfNow]),
    [
      [second, 'enrolled', false],
      [first, 'users', false],
    ],
  );
  other.aheadMs = 3_601_000;
  assert.equal((await ask()).clientCount, 0);

  const stranger = askProfiles(await other.connect(), generateSigningKeyPair());
  await assert.rejects(stranger, /rule signature/);
  assert.match(readFileSync(joinPath(other.directory, 'cas', 'audit.log'), 'utf8'), /list-profiles/, 'who looked');
});

test('grants are taken in their one spelling, so that none is hidden from who reads them', async () => {
  const profile = { name: 'odd', grants: 'wr:\u001b[2Kusers/', measurements: null, enrolmentKey: null };
  await assert.rejects(setProfile(profile), /rule signature/);
});
