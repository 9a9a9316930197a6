/** The state of CAS: restarts, disks that were turned back, operators, revocation, the audit log. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../../workers/signing.ts';
import { voucherGroupOf } from '../../../src/trust/certificate.ts';
import { bytesOfHex, hexOf } from '../../../src/trust/hex.ts';
import { verifyAuditLog } from '../../../src/trust/chain/audit-log.ts';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import type { OperatorCommand } from '../../../src/trust/chain/messages.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { Chain } from './chain-fixture.ts';

const machines = Array.from({ length: 3 }, createSimulatedMachine);
const ONE = { members: [{ host: '127.0.0.1', port: 7400 }] };

async function start(t: TestContext, settings = {}): Promise<Chain> {
  const chain = await Chain.start(settings);
  t.after(() => chain.close());
  return chain;
}

function place(
  chain: Chain,
  index: number | null,
  lasUrl: string | undefined,
  machine = machines[0]!,
): Promise<CasAuthority> {
  return openCasAuthority({
    role: index === null ? 'client' : 'replica',
    memberIndex: index,
    wantsDataKeys: true,
    lasUrl,
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

async function admit(chain: Chain, lasUrl?: string): Promise<string> {
  const cas = await chain.connect();
  const keys = generateStaticKeyPair();
  const options = { role: 'client', memberIndex: null, wantsDataKeys: true, lasUrl } as const;
  await join(cas, keys, { ...options, platform: chain.platform(machines[0]!) });
  return hexOf(keys.publicKey);
}

async function command(chain: Chain, wish: OperatorCommand, keys = chain.operator): Promise<string> {
  return sendCommand(await chain.connect(), keys, wish);
}

const stateFile = (chain: Chain): string => joinPath(chain.directory, 'cas', 'cas-state.sealed');

test('CAS starts again where it was, when its witnesses know of nothing later', async (t) => {
  const chain = await start(t, ONE);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  const replica = await place(chain, 0, las.url);
  await chain.cas.close();
  const again = await chain.startCas();
  assert.equal(again.cas.isServing, true);
  const client = await place(chain, null, las.url);
  assert.deepEqual(client.configuration, replica.configuration);
  assert.deepEqual(client.dataKeys.key(1), replica.dataKeys.key(1));
});

test('a disk that was turned back is noticed, and CAS decides nothing', async (t) => {
  const chain = await start(t, ONE);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  const staticKey = await admit(chain, las.url);
  const before = joinPath(chain.directory, 'before');
  cpSync(joinPath(chain.directory, 'cas'), before, { recursive: true });
  await command(chain, { type: 'revoke-key', staticKey });
  await chain.cas.close();
  rmSync(joinPath(chain.directory, 'cas'), { recursive: true });
  cpSync(before, joinPath(chain.directory, 'cas'), { recursive: true });

  const again = await chain.startCas();
  assert.equal(again.cas.isServing, false);
  const lasId = chain.events.flatMap((event) => (event.type === 'las-attested' ? event.lasId : []))[0]!;
  await assert.rejects(
    admit(chain, las.url),
    new RegExp(`LAS ${lasId} holds its word for state \\d+, .*its disk was turned back, or there are two of it`),
  );
  const { stateCounter } = again.cas.document;
  await assert.rejects(
    command(chain, { type: 'confirm-state', stateCounter }),
    /turned back/,
    'an operator can not overrule what a witness has seen',
  );
});

test('of two CAS from one state only the one that a witness knows goes on', async (t) => {
  const chain = await start(t, ONE);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  const copy = joinPath(chain.directory, 'copy');
  cpSync(joinPath(chain.directory, 'cas'), copy, { recursive: true });
  const first = chain.cas;
  const second = await chain.startCas(undefined, copy);
  assert.equal(second.cas.isServing, true);
  await admit(chain, las.url);
  chain.cas = first;
  await assert.rejects(admit(chain, las.url), /there are two of it/);
  assert.equal(first.cas.isServing, false);
});

test('without witnesses CAS waits until an operator confirms its state', async (t) => {
  const chain = await start(t, ONE);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  await las.close();
  await chain.cas.close();
  const again = await chain.startCas();
  await assert.rejects(admit(chain), { code: 'TRUST_UNAVAILABLE', message: /0 of 1 witnesses.*avocado cas confirm/ });
  const { stateCounter } = again.cas.document;
  const wish = { type: 'confirm-state', stateCounter } as const;
  await assert.rejects(command(chain, wish, generateSigningKeyPair()), /rule signature/);
  await assert.rejects(command(chain, { ...wish, stateCounter: stateCounter + 1 }), /rule state/);
  assert.match(await command(chain, wish), /serves/);
  assert.equal(again.cas.isServing, true);
  // The machine's LAS, started anew, takes the place of the one that is gone.
  const next = await chain.startLas(machines[0]!);
  await next.attested;
  await admit(chain, next.url);
});

test('joins wait while most witnesses are gone; with two of three they do not', async (t) => {
  const chain = await start(t, ONE);
  const lases = [];
  for (const machine of machines) {
    const las = await chain.startLas(machine);
    await las.attested;
    lases.push(las);
  }
  await lases[2]!.close();
  await admit(chain, lases[0]!.url);
  await lases[1]!.close();
  await assert.rejects(admit(chain, lases[0]!.url), { code: 'TRUST_UNAVAILABLE', message: /1 of 2 witnesses/ });
});

test('a state that was changed, or that comes from another machine, does not open', async (t) => {
  const chain = await start(t, ONE);
  await chain.cas.close();
  const sealed = readFileSync(stateFile(chain));
  const changed = Buffer.from(sealed);
  changed[sealed.length - 20]! ^= 1;
  writeFileSync(stateFile(chain), changed);
  await assert.rejects(chain.startCas(), { code: 'CLUSTER_FILES', message: /does not open/ });
  writeFileSync(stateFile(chain), sealed);
  Object.assign(chain, { casMachine: machines[0] });
  await assert.rejects(chain.startCas(), { code: 'CLUSTER_FILES', message: /does not open/ });
});

test('a revoked key is refused by CAS and, with its next look, by every member', async (t) => {
  const chain = await start(t, ONE);
  const las = await chain.startLas(machines[0]!);
  await las.attested;
  const replica = await place(chain, 0, las.url);
  const client = await place(chain, null, las.url);
  const { publicKey } = client.staticKeyPair;
  const seen = (): boolean => replica.verify(client.certificate, publicKey, chain.nowMs() / 1000).ok;
  const revoked = (): boolean => replica.isRevoked(hexOf(publicKey), 0);
  let toldCount = 0;
  replica.onRevoked = () => {
    assert.equal(revoked(), true, 'it is known by then');
    toldCount++;
  };
  await replica.refresh();
  assert.deepEqual([seen(), revoked(), toldCount], [true, false, 0]);
  await command(chain, { type: 'revoke-key', staticKey: hexOf(publicKey) });
  await replica.refresh();
  assert.deepEqual([seen(), revoked(), toldCount], [false, true, 1]);
  assert.equal(replica.isRevoked(hexOf(replica.staticKeyPair.publicKey), 0), false);
  await replica.refresh();
  assert.equal(toldCount, 1, 'told of what is new');
  const options = { role: 'client', memberIndex: null, wantsDataKeys: true, lasUrl: las.url } as const;
  const again = join(await chain.connect(), client.staticKeyPair, {
    ...options,
    platform: chain.platform(machines[0]!),
  });
  await assert.rejects(again, /rule key-revoked/);
});

test('a revoked LAS takes with it what it vouched for, and vouches no more', async (t) => {
  const chain = await start(t, ONE);
  const bad = await chain.startLas(machines[0]!);
  const good = await chain.startLas(machines[1]!);
  await Promise.all([bad.attested, good.attested]);
  const direct = await place(chain, 0, good.url, machines[1]);
  const vouched = await place(chain, null, bad.url);
  const lasId = chain.lasEvents.flatMap((event) => (event.type === 'attested' ? event.lasId : []));
  const ofBad = lasId.find((id) =>
    chain.events.some((event) => event.type === 'las-attested' && event.lasId === id && event.url === bad.url),
  )!;
  assert.match(await command(chain, { type: 'revoke-las', lasId: ofBad }), /and everything that it vouched for/);
  await direct.refresh();
  const now = chain.nowMs() / 1000;
  assert.equal(direct.verify(vouched.certificate, vouched.staticKeyPair.publicKey, now).ok, false);
  assert.equal(direct.verify(direct.certificate, direct.staticKeyPair.publicKey, now).ok, true);
  for (const { certificate, staticKeyPair } of [vouched, direct]) {
    const isRevoked = direct.isRevoked(hexOf(staticKeyPair.publicKey), voucherGroupOf(certificate));
    assert.equal(isRevoked, certificate === vouched.certificate);
  }
  await assert.rejects(admit(chain, bad.url), /rule las-revoked/);
  await bad.close();
  const renamed = await chain.startLas(machines[0]!);
  await assert.rejects(renamed.attested, /rule las-revoked: .* that of/);
  await assert.rejects(admit(chain), /rule las-revoked/, 'nor with evidence of its own');
});

test('a member is one process: a second one is refused until operators re-form, and then the first is out', async (t) => {
  const chain = await start(t, ONE);
  const first = await place(chain, 0, undefined);
  await assert.rejects(place(chain, 0, undefined), /rule member: .* until an operator re-forms/);
  assert.match(await command(chain, { type: 're-form' }), /epoch 2/);
  const second = await place(chain, 0, undefined);
  assert.equal(second.configuration.epoch, 2);
  const now = chain.nowMs() / 1000;
  assert.equal(second.verify(first.certificate, first.staticKeyPair.publicKey, now).ok, false);
});

test('a certificate is renewed before it expires; CAS being down stops nothing that runs', async (t) => {
  const chain = await start(t, { ...ONE, certificateSeconds: 600 });
  const replica = await place(chain, 0, undefined);
  const { certificate } = replica;
  await replica.refresh();
  assert.equal(replica.certificate, certificate, 'not yet');
  chain.aheadMs = 400_000;
  await replica.refresh();
  assert.notEqual(replica.certificate, certificate);
  const later = chain.nowMs() / 1000 + 300;
  assert.equal(replica.verify(certificate, replica.staticKeyPair.publicKey, later).ok, false);
  assert.equal(replica.verify(replica.certificate, replica.staticKeyPair.publicKey, later).ok, true);

  await chain.cas.close();
  await replica.refresh();
  assert.equal(replica.verify(replica.certificate, replica.staticKeyPair.publicKey, later).ok, true);
  await assert.rejects(place(chain, null, undefined), {
    code: 'TRUST_UNAVAILABLE',
    message: /^CAS https:.* can't be reached/,
  });
});

test('who waits for members says for which', async (t) => {
  const chain = await start(t);
  await assert.rejects(place(chain, 1, undefined), {
    code: 'TRUST_UNAVAILABLE',
    message: /members 0, 2 of the cluster have not joined yet/,
  });
});

test('an audit log with an entry changed, left out, exchanged or cut off is found', async (t) => {
  const chain = await start(t, ONE);
  for (let i = 0; i < 3; i++) await admit(chain);
  const { document } = chain.cas.cas;
  const key = bytesOfHex(document.clusterPublicKey);
  const path = joinPath(chain.directory, 'cas', 'audit.log');
  const text = readFileSync(path, 'utf8');
  const lines = text.trimEnd().split('\n');
  const whole = { count: document.auditCount, hash: document.auditHead };
  const verdictOf = (changed: string[]): ReturnType<typeof verifyAuditLog> => {
    writeFileSync(path, changed.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    return verifyAuditLog(path, key, whole);
  };
  assert.equal(verdictOf(lines).ok, true);
  for (let i = 0; i < lines.length; i++) {
    const edited = lines.with(i, lines[i]!.replace(/1/, '2'));
    const verdict = verdictOf(edited);
    assert.ok(!verdict.ok && verdict.line === i + 1, `entry ${i} changed`);
    assert.equal(verdictOf(lines.toSpliced(i, 1)).ok, false, `entry ${i} left out`);
  }
  assert.equal(verdictOf([lines[1]!, lines[0]!, ...lines.slice(2)]).ok, false);
  assert.equal(verdictOf(lines.slice(0, -1)).ok, false, 'cut');
  await chain.cas.close();
  await assert.rejects(chain.startCas(), { code: 'CLUSTER_FILES', message: /was changed, line/ });
});

test('what CAS writes is its own to read', async (t) => {
  const chain = await start(t, ONE);
  for (const name of ['cas-state.sealed', 'cas-backup.sealed', 'audit.log']) {
    assert.equal(statSync(joinPath(chain.directory, 'cas', name)).mode & 0o777, 0o600, name);
  }
});
