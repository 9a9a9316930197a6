import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateStaticKeyPair } from '../../../workers/signing.ts';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { DataKeyRing } from '../../../src/trust/data-key-ring.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { join } from '../../../src/trust/chain/join-cluster.ts';
import { Permissions } from '../../../src/trust/permissions.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { Chain } from './chain-fixture.ts';

const machine = createSimulatedMachine();

function authority(chain: Chain, index: number | null, lasUrl: string | undefined): Promise<CasAuthority> {
  return openCasAuthority({
    role: index === null ? 'client' : 'replica',
    memberIndex: index,
    wantsDataKeys: true,
    platform: chain.platform(machine),
    lasUrl,
    cas: parseCasReference(chain.cas.reference),
    judgement: chain.judgement(),
    timeoutMs: 20_000,
  });
}

test('replicas and a client get certificates, one data key and one configuration through CAS and LAS', async (t) => {
  const chain = await Chain.start();
  t.after(() => chain.close());
  const las = await chain.startLas(machine);
  await las.attested;
  const all = await Promise.all([0, 1, 2, null].map((index) => authority(chain, index, las.url)));
  for (const each of all) chain.onClose(async () => each.close());
  const [first, , , client] = all as [CasAuthority, CasAuthority, CasAuthority, CasAuthority];
  assert.equal(first.configuration.epoch, 1);
  for (const each of all) {
    assert.deepEqual(each.configuration, first.configuration);
    assert.deepEqual(each.dataKeys.key(each.dataKeys.currentId(new Int32Array(2), 0, 8)), first.dataKeys.key(1));
    assert.equal(each.dataKeys.key(1)?.length, 32);
  }
  const now = chain.nowMs() / 1000;
  for (const [index, each] of all.slice(0, 3).entries()) {
    const verdict = client.verify(each.certificate, each.staticKeyPair.publicKey, now);
    assert.deepEqual(verdict, {
      ok: true,
      identity: { role: 'replica', memberIndex: index, permissions: Permissions.ALL },
      voucherGroup: 1,
    });
  }
  const verdict = first.verify(client.certificate, client.staticKeyPair.publicKey, now);
  assert.equal(verdict.ok && verdict.identity.role, 'client');
  assert.deepEqual(chain.errors, []);
});

test('with evidence of its own a process needs no LAS, where the settings allow it', async (t) => {
  const chain = await Chain.start({ members: [{ host: '127.0.0.1', port: 7400 }] });
  t.after(() => chain.close());
  const only = await authority(chain, 0, undefined);
  chain.onClose(async () => only.close());
  assert.equal(only.dataKeys.key(1)?.length, 32);

  const strict = await Chain.start({ admission: 'las' });
  t.after(() => strict.close());
  await assert.rejects(authority(strict, null, undefined), {
    code: 'ADMISSION_REFUSED',
    message: /rule admission: allowed a LAS's voucher; seen evidence/,
  });
});

test('a client of the coordinated route gets no data key', async (t) => {
  const chain = await Chain.start();
  t.after(() => chain.close());
  const cas = await chain.connect();
  const options = { platform: chain.platform(machine), lasUrl: undefined, role: 'client', memberIndex: null } as const;
  const admission = await join(cas, generateStaticKeyPair(), { ...options, wantsDataKeys: false });
  assert.equal(admission.keys, undefined);
  assert.ok(admission.certificate.length > 0);
});

test('each key space has a data key of its own, and whoever joins gets them all', async (t) => {
  const spaces = [{ name: 'users', prefix: Buffer.from('user/') }];
  const chain = await Chain.start({ spaces });
  t.after(() => chain.close());
  const admission = await join(await chain.connect(), generateStaticKeyPair(), {
    role: 'client',
    memberIndex: null,
    wantsDataKeys: true,
    platform: chain.platform(createSimulatedMachine()),
    lasUrl: undefined,
  });
  const { spaces: delivered, keys } = admission.keys!;
  const dataKeys = new DataKeyRing(delivered, keys);
  const words = new Int32Array(2);
  assert.equal(dataKeys.currentId(words, 0, 5), 1);
  new Uint8Array(words.buffer).set(Buffer.from('user/'));
  assert.equal(dataKeys.currentId(words, 0, 5), 2);
  assert.notDeepEqual(dataKeys.key(1), dataKeys.key(2));
  const clashing = { ...spaces[0]!, name: 'people' };
  await assert.rejects(
    chain.startCas(chain.settings({ spaces: [...spaces, clashing] }), `${chain.directory}/other`),
    /two key spaces have one prefix/,
  );
});
