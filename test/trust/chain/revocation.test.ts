/** Who is in the list that CAS signs, and so ends in the sessions of all: members by key, as they show no certificate. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateStaticKeyPair } from '../../../workers/signing.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { NOBODY } from '../../../src/trust/chain/cas-state.ts';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import { REVOCATIONS_MAX } from '../../../src/trust/chain/messages.ts';
import type { OperatorCommand } from '../../../src/trust/chain/messages.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { revokeKeys } from '../../../src/trust/chain/revocations.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import type { SimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { BUILD, Chain, measurementNamed, policyText } from './chain-fixture.ts';

const machines = Array.from({ length: 2 }, createSimulatedMachine);

async function start(t: TestContext, settings = {}): Promise<Chain> {
  const chain = await Chain.start(settings);
  t.after(() => chain.close());
  return chain;
}

async function place(
  chain: Chain,
  index: number | null,
  lasUrl?: string,
  machine = machines[0]!,
): Promise<CasAuthority> {
  const authority = await openCasAuthority({
    role: index === null ? 'client' : 'replica',
    memberIndex: index,
    wantsDataKeys: true,
    lasUrl,
    platform: chain.platform(machine),
    cas: parseCasReference(chain.cas.reference),
    judgement: chain.judgement(),
    timeoutMs: 5_000,
    refreshMs: 60_000,
  });
  chain.onClose(async () => authority.close());
  return authority;
}

async function command(chain: Chain, wish: OperatorCommand): Promise<string> {
  return sendCommand(await chain.connect(), chain.operator, wish);
}

function rejoin(
  chain: Chain,
  member: CasAuthority,
  index: number,
  lasUrl?: string,
  machine: SimulatedMachine = machines[0]!,
) {
  const options = { role: 'replica', memberIndex: index, wantsDataKeys: true, lasUrl } as const;
  return chain
    .connect()
    .then((cas) => join(cas, member.staticKeyPair, { ...options, platform: chain.platform(machine) }));
}

/** As who has asked it for a session sees it: without a certificate. */
const isOut = (seen: CasAuthority, member: CasAuthority): boolean =>
  seen.isRevoked(hexOf(member.staticKeyPair.publicKey), 0);

test('should end sessions to the members that a revoked LAS has vouched for, and to no others', async (t) => {
  const chain = await start(t);
  const bad = await chain.startLas(machines[0]!);
  const good = await chain.startLas(machines[1]!);
  await Promise.all([bad.attested, good.attested]);
  const members = await Promise.all([
    place(chain, 0, bad.url),
    place(chain, 1, good.url, machines[1]),
    place(chain, 2, bad.url),
  ]);
  const client = await place(chain, null, good.url, machines[1]);
  // A renewal by evidence of its own does not undo that the LAS has vouched for the key.
  await rejoin(chain, members[2], 2);
  for (const seen of [client, members[1]]) {
    await seen.refresh();
    assert.deepEqual(
      members.map((member) => isOut(seen, member)),
      [false, false, false],
    );
  }
  const { lasId } = chain.events.find((event) => event.type === 'las-attested' && event.url === bad.url) as {
    lasId: string;
  };
  await command(chain, { type: 'revoke-las', lasId });
  for (const seen of [client, members[1]]) {
    let toldCount = 0;
    seen.onRevoked = () => toldCount++;
    await seen.refresh();
    assert.equal(toldCount, 1);
    assert.deepEqual(
      members.map((member) => isOut(seen, member)),
      [true, false, true],
    );
  }
  await command(chain, { type: 'rotate-key', space: 'default' });
  const { dataKeys } = chain.cas.cas.document;
  assert.deepEqual(
    dataKeys.map(({ id, waitsFor }) => [id, waitsFor]),
    [
      [1, []],
      [2, [1]],
    ],
    'a rotation takes the keys from who was revoked, and does not wait for them',
  );
  const later = await place(chain, null, good.url, machines[1]);
  assert.ok(isOut(later, members[0]), 'also for who joins now');
  await assert.rejects(rejoin(chain, members[0], 0, good.url, machines[1]), /rule las-revoked: .*no revoked LAS/);
});

test('should take a member whose certificate has ended for revoked, until it has another', async (t) => {
  const chain = await start(t, { members: [{ host: '127.0.0.1', port: 7400 }], certificateSeconds: 600 });
  const member = await place(chain, 0);
  const client = await place(chain, null);
  chain.aheadMs = 580_000;
  await chain.cas.cas.tick();
  await client.refresh();
  assert.equal(isOut(client, member), false, 'not yet');
  const policy = policyText(measurementNamed('another build'));
  const cas = await chain.connect();
  await sendCommand(cas, chain.operator, { type: 'set-policy', policy, replaces: cas.document.policyHash });
  await member.refresh();
  chain.aheadMs = 605_000;
  await chain.cas.cas.tick();
  await client.refresh();
  assert.equal(isOut(client, member), false, 'two looks at CAS later at the earliest');
  chain.aheadMs = 625_000;
  await chain.cas.cas.tick();
  await client.refresh();
  assert.equal(isOut(client, member), true, 'CAS has not renewed it, by its new policy');
  assert.deepEqual(chain.events.at(-1), { type: 'lapsed', memberIndex: 0 });

  const { policyHash } = (await chain.connect()).document;
  await command(chain, { type: 'set-policy', policy: policyText(BUILD), replaces: policyHash });
  await member.refresh();
  await client.refresh();
  assert.equal(isOut(client, member), false);
});

test('should keep a revoked key in the list after its certificates have ended, as long as there is room', () => {
  const { members, ...state } = {
    lases: [],
    members: [{ host: '127.0.0.1', port: 7400, ...NOBODY }],
    revoked: [],
    revocationSequence: 0,
    certificateSeconds: 10,
    refreshSeconds: 10,
  };
  const full = { ...state, members } as Parameters<typeof revokeKeys>[0];
  const keyOf = (i: number): string => i.toString(16).padStart(64, '0');
  revokeKeys(full, [keyOf(0)], 0);
  revokeKeys(full, [keyOf(1)], 100);
  const has = (i: number): boolean => full.revoked.some(({ staticKey }) => staticKey === keyOf(i));
  assert.ok(has(0));
  for (let i = 2; i < REVOCATIONS_MAX; i++) revokeKeys(full, [keyOf(i)], 105);
  assert.ok(has(0) && has(1));
  revokeKeys(full, [keyOf(REVOCATIONS_MAX)], 105);
  assert.deepEqual([has(0), has(1), has(2)], [false, true, true], 'the oldest that has expired gives way');
  assert.throws(() => revokeKeys(full, [keyOf(REVOCATIONS_MAX + 1)], 109), /keys are revoked/);
  assert.ok(has(1) && !has(REVOCATIONS_MAX + 1), 'nothing that may be good yet is dropped');
});

test('should give no two members to one process', async (t) => {
  const chain = await start(t);
  void place(chain, 0).catch(() => {});
  const cas = await chain.connect();
  const keys = generateStaticKeyPair();
  const options = {
    role: 'replica',
    wantsDataKeys: true,
    lasUrl: undefined,
    platform: chain.platform(machines[0]!),
  } as const;
  await join(cas, keys, { ...options, memberIndex: 1 });
  await assert.rejects(
    join(cas, keys, { ...options, memberIndex: 2 }),
    /rule member: allowed a key that no other member has/,
  );
  await join(cas, keys, { ...options, memberIndex: 1 });
});
