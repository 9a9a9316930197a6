/** What must not get in, each with the rule that keeps it out. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../../workers/signing.ts';
import { createTlsIdentity } from '../../../workers/tls-identity.ts';
import { openSealedTo } from '../../../workers/secret-box.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { writeEvidence } from '../../../src/trust/evidence/evidence-file.ts';
import { CasConnection, parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { PinnedServer } from '../../../src/trust/chain/https-call.ts';
import { openService } from '../../../src/trust/chain/https-service.ts';
import type { RunningService } from '../../../src/trust/chain/https-service.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import { JOIN_ANSWER, VOUCHER, VOUCHER_ANSWER } from '../../../src/trust/chain/messages.ts';
import { NONCE_LIFE_MS } from '../../../src/trust/chain/nonces.ts';
import { joinReportData } from '../../../src/trust/chain/report-data.ts';
import type { JoinClaim } from '../../../src/trust/chain/report-data.ts';
import { contentOf, documentJson, signDocument } from '../../../src/trust/chain/signed-document.ts';
import type { SignedDocument } from '../../../src/trust/chain/signed-document.ts';
import { VOUCHER_LIFE_SECONDS } from '../../../src/trust/chain/las.ts';
import type { RunningLas } from '../../../src/trust/chain/las.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { DEFAULT_PROFILE } from '../../../src/trust/profile-name.ts';
import { BUILD, Chain, measurementNamed } from './chain-fixture.ts';

const machine = createSimulatedMachine();
const otherMachine = createSimulatedMachine();
let chain: Chain;
let las: RunningLas;
let cas: CasConnection;

before(async () => {
  chain = await Chain.start();
  las = await chain.startLas(machine);
  await las.attested;
  cas = await chain.connect();
});
after(() => chain.close());
beforeEach(() => {
  chain.aheadMs = 0;
});

const deliveryKeys = generateStaticKeyPair();

async function claim(changed: Partial<JoinClaim> = {}): Promise<JoinClaim> {
  return {
    role: 'client',
    memberIndex: null,
    nonce: await cas.nonce(),
    staticKey: hexOf(generateStaticKeyPair().publicKey),
    deliveryKey: hexOf(deliveryKeys.publicKey),
    profile: changed.role === 'replica' ? null : DEFAULT_PROFILE,
    ...changed,
  } as JoinClaim;
}

/** A genuine voucher of the genuine LAS. */
async function voucherFor(about: JoinClaim, on = machine, measurement = BUILD): Promise<SignedDocument> {
  const report = await chain.platform(on, measurement).local!.make(joinReportData(about));
  const proof = { type: 'local-report', report: Buffer.from(report).toString('base64') };
  const server = new PinnedServer('LAS', las.url);
  try {
    return (await server.call('/v1/voucher', { ...about, proof }, VOUCHER_ANSWER, { timeoutMs: 5_000 })).voucher;
  } finally {
    server.close();
  }
}

async function evidenceFor(about: JoinClaim, debug = false): Promise<string> {
  const platform = chain.platform(machine);
  const made = await platform.provider.makeEvidence(joinReportData(about));
  return debug
    ? writeEvidence({ ...made, report: made.report.map((byte, i) => (i === 4 ? 1 : byte)) })
    : writeEvidence(made);
}

function ask(about: JoinClaim, proof: object): Promise<{ sealedKeys: Uint8Array | null }> {
  return cas.call('/v1/join', { ...about, wantsDataKeys: true, enrolment: null, proof }, JOIN_ANSWER);
}

function byVoucher(about: JoinClaim, voucher: SignedDocument): ReturnType<typeof ask> {
  return ask(about, { type: 'voucher', voucher: documentJson(voucher) });
}

async function refused(answer: Promise<unknown>, rule: string, seen: RegExp = /./): Promise<void> {
  await assert.rejects(answer, (error: Error & { code?: string }) => {
    assert.equal(error.code, 'ADMISSION_REFUSED', error.message);
    assert.match(error.message, new RegExp(`rule ${rule}:`));
    assert.match(error.message.replace(/^.*; seen /, ''), seen);
    return true;
  });
}

test('what is genuine is admitted, so that the refusals below are for what they say', async () => {
  const about = await claim();
  await byVoucher(about, await voucherFor(about));
  const direct = await claim();
  await ask(direct, { type: 'evidence', evidence: await evidenceFor(direct) });
});

test('a replayed join is refused: its nonce was used', async () => {
  const about = await claim();
  const proof = { type: 'evidence', evidence: await evidenceFor(about) };
  await ask(about, proof);
  await refused(ask(about, proof), 'nonce', /used/);
});

test('old evidence with a fresh nonce beside it is refused: it binds the old one', async () => {
  const old = await claim();
  const evidence = await evidenceFor(old);
  await refused(ask({ ...old, nonce: await cas.nonce() }, { type: 'evidence', evidence }), 'report-data');
});

test('a nonce that CAS did not make, or that is old, is refused', async () => {
  const foreign = await claim({ nonce: '0'.repeat(64) });
  await refused(ask(foreign, { type: 'evidence', evidence: await evidenceFor(foreign) }), 'nonce', /another/);
  const old = await claim();
  chain.aheadMs = NONCE_LIFE_MS + 1_000;
  await refused(ask(old, { type: 'evidence', evidence: await evidenceFor(old) }), 'nonce', /expired/);
});

test('evidence and vouchers for another key are refused, and a copied answer opens for the attested process alone', async () => {
  const victim = await claim();
  const evidence = await evidenceFor(victim);
  const thief = hexOf(generateStaticKeyPair().publicKey);
  await refused(ask({ ...victim, staticKey: thief }, { type: 'evidence', evidence }), 'report-data');
  const second = await claim();
  const voucher = await voucherFor(second);
  await refused(byVoucher({ ...second, deliveryKey: thief }, voucher), 'report-data');
  await refused(byVoucher({ ...(await claim()), role: 'replica', memberIndex: 0 }, voucher), 'nonce');

  const third = await claim();
  const { sealedKeys } = await byVoucher(third, await voucherFor(third));
  assert.equal(openSealedTo(sealedKeys!, generateStaticKeyPair()), undefined);
  assert.notEqual(openSealedTo(sealedKeys!, deliveryKeys), undefined);
});

test('a changed build gets neither certificate nor key, through LAS or directly', async () => {
  const foreign = measurementNamed('a changed build');
  const about = await claim({ role: 'replica', memberIndex: 0 });
  await refused(byVoucher(about, await voucherFor(about, machine, foreign)), 'measurement', new RegExp(hexOf(foreign)));
  const options = { role: 'replica', memberIndex: 0, wantsDataKeys: true, lasUrl: undefined } as const;
  const platform = chain.platform(machine, foreign);
  await refused(join(cas, generateStaticKeyPair(), { ...options, platform }), 'measurement');
  const { missing } = chain.cas.cas.configuration();
  assert.deepEqual(missing, [0, 1, 2], 'no member was taken');
});

test('evidence with a changed byte is refused', async () => {
  const about = await claim();
  await refused(ask(about, { type: 'evidence', evidence: await evidenceFor(about, true) }), 'signature');
  await refused(ask(await claim(), { type: 'evidence', evidence: '{}' }), 'malformed');
});

test('a LAS vouches for its own machine only', async () => {
  const about = await claim();
  await refused(voucherFor(about, otherMachine), 'signature', /another machine/);
});

test('a forged LAS is refused: unknown, or with the name of a real one', async () => {
  const about = await claim();
  const voucher = contentOf(await voucherFor(about), VOUCHER)!;
  const forger = generateSigningKeyPair();
  const unknown = signDocument('voucher', { ...voucher, lasId: 'ff'.repeat(8) }, forger.secretKey);
  await refused(byVoucher(about, unknown), 'las', /ffff/);
  const again = await claim({ ...about, nonce: await cas.nonce() });
  const named = signDocument('voucher', { ...voucher, nonce: again.nonce }, forger.secretKey);
  await refused(byVoucher(again, named), 'voucher', /another signature/);
});

test('a voucher lives for seconds, is for one nonce, and is no other document', async () => {
  const about = await claim();
  const voucher = await voucherFor(about);
  // Another test has put the clock ahead, and nonces don't go back.
  chain.aheadMs = NONCE_LIFE_MS + VOUCHER_LIFE_SECONDS * 1000 + 1_000;
  await refused(byVoucher(about, voucher), 'voucher-expired');
  chain.aheadMs = 0;
  const fresh = await claim({ ...about, nonce: await cas.nonce() });
  await refused(byVoucher(fresh, voucher), 'nonce');
  const other = await claim();
  const word = signDocument('state witness', { counter: 1 }, generateSigningKeyPair().secretKey);
  await refused(byVoucher(other, word), 'voucher', /something else/);
});

test('a LAS of another build is not attested', async () => {
  const foreign = await chain.startLas(otherMachine, measurementNamed('another LAS'));
  await refused(foreign.attested, 'measurement');
});

test('a CAS of another cluster, of another build, or behind another certificate is not believed', async () => {
  const { url } = parseCasReference(chain.cas.reference);
  const otherCluster = { url, clusterPublicKey: 'ab'.repeat(32) };
  await assert.rejects(CasConnection.open(otherCluster, chain.judgement()), /another cluster/);
  const reference = parseCasReference(chain.cas.reference);
  const judgement = chain.judgement();
  const strict = {
    ...judgement,
    policy: async () => ({ ok: false, rule: 'measurement', allowed: 'a', seen: 'b' }) as const,
  };
  await assert.rejects(CasConnection.open(reference, strict), /not to be trusted: refused by rule measurement/);

  // A relay that ends TLS itself hands on genuine evidence, over another certificate than it shows.
  const relay = await openRelay(reference.url);
  chain.onClose(() => relay.close());
  await assert.rejects(CasConnection.open({ ...reference, url: relay.url }, judgement), /rule report-data/);
});

test('what is no request is refused with a reason, and nothing is thrown', async () => {
  const server = new PinnedServer('CAS', parseCasReference(chain.cas.reference).url);
  const options = { timeoutMs: 5_000 };
  await assert.rejects(server.callRaw('/v1/join', {}, options), /the request is wrong/);
  await assert.rejects(server.callRaw('/v1/nonce', { more: 1 }, options), /the request is wrong/);
  await assert.rejects(server.callRaw('/v2', {}, options), /there is no such request/);
  await assert.rejects(
    server.callRaw('/v1/nonce', { long: 'x'.repeat(1_000_000) }, options),
    /bytes at most|ECONNRESET|EPIPE/,
  );
  server.close();
  assert.deepEqual(chain.errors, []);
});

test('every refusal is in the audit log with its rule', () => {
  const log = readFileSync(joinPath(chain.directory, 'cas', 'audit.log'), 'utf8');
  for (const rule of ['nonce', 'measurement', 'report-data', 'las', 'voucher', 'voucher-expired', 'signature']) {
    assert.match(log, new RegExp(`\\\\"rule\\\\":\\\\"${rule}\\\\"`), rule);
  }
});

async function openRelay(url: string): Promise<RunningService> {
  const server = new PinnedServer('CAS', url);
  const handle = async (text: string): Promise<object> => {
    const answer = await server.callRaw('/v1/identity', JSON.parse(text) as object, { timeoutMs: 5_000 });
    return JSON.parse(answer.text) as object;
  };
  return openService({
    host: '127.0.0.1',
    port: 0,
    requestsPerSecond: 100,
    onError: () => {},
    tls: createTlsIdentity('relay', Date.now()),
    routes: new Map([['/v1/identity', { handle }]]),
  });
}
