import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Evidence, MeasuredFacts, RefusalRule, Verification } from '../../src/trust/evidence/evidence.ts';
import { DAY_MS, leafExtensions, makeEvidence, makeReport, makeSnpWorld, NOW_MS, SMT_POLICY } from './snp-world.ts';
import type { ReportPlan, SnpWorld } from './snp-world.ts';
import { makeEcKeys } from './x509-maker.ts';

const MILAN = makeSnpWorld();

interface Attempt {
  readonly world?: SnpWorld;
  readonly report?: Uint8Array;
  readonly evidence?: Evidence;
  readonly collateral?: Uint8Array;
  readonly nowMs?: number;
}

function attempt({ world = MILAN, report, evidence, collateral, nowMs = NOW_MS }: Attempt = {}): Verification {
  const made = evidence ?? makeEvidence(world, report ?? makeReport(world));
  return world.verifier.verify(made, { nowMs, collateral: collateral ?? world.collateral(world.list()) });
}

function accepted(tried: Attempt = {}): MeasuredFacts {
  const verification = attempt(tried);
  assert.ok(verification.ok, JSON.stringify(verification));
  return verification.facts;
}

function refused(rule: RefusalRule, tried: Attempt, seen = /./): void {
  const verification = attempt(tried);
  assert.ok(!verification.ok, `accepted; wanted a refusal by ${rule}`);
  assert.equal(verification.rule, rule, `${verification.rule}: ${verification.allowed}; seen ${verification.seen}`);
  assert.match(`${verification.allowed} | ${verification.seen}`, seen);
}

test('reports of versions 2 to 5 of each product line verify', () => {
  for (const line of ['Milan', 'Genoa', 'Turin'] as const) {
    const world = makeSnpWorld({ line });
    for (const version of [2, 3, 4, 5]) {
      const facts = accepted({ world, report: makeReport(world, { version }) });
      assert.equal(facts.measurement, 'a5'.repeat(48));
      assert.equal(facts.revocationChecked, true);
      const { fmc, ...tcb } = facts.tcb;
      assert.deepEqual(tcb, { bootloader: 4, tee: 1, snp: 22, microcode: 211, guestSvn: 0 });
      assert.equal(fmc, line === 'Turin' ? 3 : undefined);
      assert.equal(facts.platformId, Buffer.from(world.plan.chipId).toString('hex'));
    }
  }
});

test('a VLEK of a cloud provider verifies, too, and names the provider', () => {
  const world = makeSnpWorld({ key: 'vlek' });
  const facts = accepted({ world });
  assert.equal(facts.registers['cloudProvider'], 'cloud.example');
  assert.equal(facts.platformId, Buffer.from(world.plan.chipId).toString('hex'));
  assert.equal(accepted({ world, report: makeReport(world, { chipId: new Uint8Array(64) }) }).platformId, undefined);
});

test('what a guest policy allows is among the facts', () => {
  assert.equal(accepted().debug, false);
  assert.equal(accepted().registers['smt'], 'allowed');
  const report = makeReport(MILAN, { policy: (1n << 17n) | (1n << 18n) | (1n << 19n), vmpl: 2 });
  const facts = accepted({ report });
  assert.deepEqual([facts.debug, facts.migrationAgent, facts.vmpl], [true, true, 2]);
  assert.equal(facts.registers['smt'], 'forbidden');
});

test('author and id key are the signers', () => {
  assert.deepEqual(accepted().signers, []);
  const authorKeyDigest = new Uint8Array(48).fill(1);
  const idKeyDigest = new Uint8Array(48).fill(2);
  const facts = accepted({ report: makeReport(MILAN, { authorKeyDigest, idKeyDigest }) });
  assert.deepEqual(facts.signers, ['01'.repeat(48), '02'.repeat(48)]);
});

test('the least of all TCBs counts: firmware may go back to what is committed', () => {
  const committedTcb = { ...MILAN.plan.tcb, microcode: 100 };
  assert.equal(accepted({ report: makeReport(MILAN, { committedTcb }) }).tcb['microcode'], 100);
});

test('validity is the span in which chain and list are valid', () => {
  const nextUpdate = new Date(NOW_MS + DAY_MS);
  const facts = accepted({ collateral: MILAN.collateral(MILAN.list({ nextUpdate })) });
  assert.equal(facts.validUntilMs, nextUpdate.getTime());
  assert.equal(facts.validFromMs, NOW_MS - 100 * DAY_MS);
});

test('without a revocation list it verifies, and says that nothing was checked', () => {
  assert.equal(accepted({ collateral: MILAN.collateral() }).revocationChecked, false);
});

test('a report with any one bit changed is refused', () => {
  const report = makeReport(MILAN);
  for (let i = 0; i < report.length; i++) {
    const changed = report.slice();
    changed[i]! ^= 1 << (i % 8);
    const verification = attempt({ report: changed });
    assert.ok(!verification.ok, `accepted with byte ${i} changed`);
    assert.ok(['signature', 'malformed'].includes(verification.rule), `byte ${i}: ${verification.rule}`);
  }
});

test('fields that no version has are refused even when they are signed', () => {
  const cases: readonly (readonly [string, Partial<ReportPlan>, ((report: Uint8Array) => void)?])[] = [
    ['version 1', { version: 1 }],
    ['version 6', { version: 6 }],
    ['policy without its reserved one', { policy: SMT_POLICY & ~(1n << 17n) }],
    ['unknown policy bit', { policy: SMT_POLICY | (1n << 26n) }],
    ['asked for by the host', { vmpl: 0xffff_ffff }],
    ['unknown algorithm', {}, (report) => report.fill(2, 0x34, 0x35)],
    ['no signing key', {}, (report) => report.fill(0x1c, 0x48, 0x49)],
    ['reserved byte', {}, (report) => report.fill(1, 0x4c, 0x4d)],
    ['processor in version 2', {}, (report) => report.fill(1, 0x188, 0x189)],
    ['mitigations in version 4', { version: 4 }, (report) => report.fill(1, 0x200, 0x201)],
  ];
  for (const [name, changes, change] of cases) {
    const verification = attempt({ report: makeReport(MILAN, changes, change) });
    assert.ok(!verification.ok && verification.rule === 'malformed', name);
  }
  refused('malformed', { report: makeReport(MILAN).slice(1) }, /1183 bytes/);
});

test('the report must be signed by the key of its certificate', () => {
  refused('signature', { report: makeReport(MILAN, { privateKey: makeEcKeys('P-384').privateKey }) });
  const world = makeSnpWorld({ leafKeys: makeEcKeys('P-256') });
  refused('signature', { world, report: makeReport(MILAN) });
});

test('certificate and report must be of one TCB, chip and product line', () => {
  for (const name of Object.keys(MILAN.plan.tcb)) {
    const tcb = { ...MILAN.plan.tcb, [name]: 9 };
    refused('tcb', { report: makeReport(MILAN, { tcb }) }, new RegExp(`seen|${name} 9`));
  }
  refused('chip', { report: makeReport(MILAN, { chipId: new Uint8Array(64).fill(1) }) });
  refused('product', { world: makeSnpWorld({ productName: 'Genoa-B0' }) }, /Milan.*Genoa-B0/);
  refused('product', { report: makeReport(MILAN, { version: 3, processor: [0x19, 0x11] }) }, /model 0x11/);
  assert.equal(accepted({ world: makeSnpWorld({ line: 'Genoa', productName: 'Siena-B0' }) }).kind, 'sev-snp');
});

test("a certificate without AMD's extensions, or with the other kind's, is refused", () => {
  const { plan } = MILAN;
  const all = leafExtensions(plan);
  for (const left of all.slice(1)) {
    const world = makeSnpWorld({ leafExtensions: all.filter(({ oid }) => oid !== left.oid) });
    refused('malformed', { world });
  }
  const both = [...all, leafExtensions({ ...plan, key: 'vlek' }).at(-1)!];
  refused('malformed', { world: makeSnpWorld({ leafExtensions: both }) });
});

test('chain: a missing link, another root, an authority that is none', () => {
  const genoa = makeSnpWorld({ line: 'Genoa' });
  refused('chain', { collateral: genoa.collateral(genoa.list()) }, /SEV-Milan.*SEV-Genoa/);
  refused('chain', { evidence: { ...makeEvidence(MILAN, makeReport(MILAN)) }, collateral: genoa.collateral() });
  refused('collateral', { evidence: { kind: 'sev-snp', report: makeReport(MILAN), certificates: [] } });
  refused('chain', { world: makeSnpWorld({ askIsAuthority: false }) });
  // A chain of another's making, with the right names.
  const forged = makeSnpWorld({ leafFrom: new Date(NOW_MS - DAY_MS) });
  const foreign = { world: MILAN, evidence: makeEvidence(forged, makeReport(forged)) };
  assert.ok(attempt(foreign).ok, 'the same keys signed it');
  refused('root', { ...foreign, world: { ...MILAN, verifier: genoa.verifier } }, /ARK-Milan/);
});

test('times: before, within, at the end, and after', () => {
  const world = makeSnpWorld({ leafFrom: new Date(NOW_MS), leafUntil: new Date(NOW_MS + DAY_MS) });
  refused('not-yet-valid', { world, nowMs: NOW_MS - 1 }, /SEV-VCEK from 2026-03-01T00:00:00Z/);
  accepted({ world, nowMs: NOW_MS });
  accepted({ world, nowMs: NOW_MS + DAY_MS });
  refused('expired', { world, nowMs: NOW_MS + DAY_MS + 1 }, /SEV-VCEK until 2026-03-02/);
  refused('expired', { world, nowMs: Number.NaN });
});

test('revocation lists: revoking, of another, unsigned, out of date, emptied, garbled', () => {
  const { list, collateral, ask, ark } = MILAN;
  refused(
    'revoked',
    { collateral: collateral(list({ revokedSerials: [9, ask.serial] })) },
    /SEV-Milan, serial number 2/,
  );
  refused('revoked', { collateral: collateral(list({ revokedSerials: [ark.serial] })) }, /ARK-Milan/);
  accepted({ collateral: collateral(list({ revokedSerials: [9] })) });
  // The leaf has serial number 0, and is not the root's to revoke.
  accepted({ collateral: collateral(list({ revokedSerials: [0] })) });

  refused(
    'revocation-list',
    { collateral: collateral(list({ signer: ask, issuerName: ark.name })) },
    /another signature/,
  );
  const genoa = makeSnpWorld({ line: 'Genoa' });
  refused('revocation-list', { collateral: collateral(genoa.list()) }, /ARK-Milan.*ARK-Genoa/);
  // A file for two lines is fine.
  assert.equal(accepted({ collateral: collateral(genoa.list(), list()) }).revocationChecked, true);

  const unsigned = list();
  unsigned[unsigned.length - 1]! ^= 1;
  refused('revocation-list', { collateral: collateral(unsigned) }, /another signature/);
  refused(
    'expired',
    { collateral: collateral(list({ nextUpdate: new Date(NOW_MS - 1_000) })) },
    /ARK-Milan's revocation list/,
  );
  refused('not-yet-valid', { collateral: collateral(list({ thisUpdate: new Date(NOW_MS + 1_000) })) });
  refused('revocation-list', { collateral: collateral(list({ nextUpdate: undefined })) });
  refused('revocation-list', { collateral: collateral(list({ criticalExtension: '2.5.29.27' })) });
  refused('collateral', { collateral: collateral(new Uint8Array(0)) });
  refused('revocation-list', { collateral: collateral(Uint8Array.of(0x30, 0)) });
  refused('revocation-list', { collateral: collateral(Uint8Array.of(...list(), 0)) });
});

test('a revocation list with any one byte changed does not count', () => {
  const { list, collateral } = MILAN;
  const der = list({ revokedSerials: [9] });
  for (let i = 0; i < der.length; i++) {
    const changed = der.slice();
    changed[i]! ^= 1;
    const verification = attempt({ collateral: collateral(changed) });
    assert.ok(!verification.ok, `counted with byte ${i} changed`);
  }
});

test('a certificate with any one byte changed is refused', () => {
  const report = makeReport(MILAN);
  for (let i = 0; i < MILAN.leaf.der.length; i++) {
    const bytes = MILAN.leaf.der.slice();
    bytes[i]! ^= 1;
    const verification = attempt({ evidence: { kind: 'sev-snp', report, certificates: [{ name: 'vcek', bytes }] } });
    assert.ok(!verification.ok, `accepted with byte ${i} changed`);
  }
});

test('collateral that is no PEM, or has more than it says, is refused', () => {
  refused('collateral', { collateral: new TextEncoder().encode('nothing') });
  refused('collateral', { collateral: new Uint8Array(2 ** 20 + 1) });
  const text = new TextDecoder().decode(MILAN.collateral());
  refused('collateral', { collateral: new TextEncoder().encode(text.replace('END CERT', 'END XERT')) });
  refused('collateral', { collateral: new TextEncoder().encode(text.replaceAll('CERTIFICATE', 'PRIVATE KEY')) });
});

test('nothing that is no evidence throws', () => {
  const report = makeReport(MILAN);
  const collateral = MILAN.collateral(MILAN.list());
  const parts = [report, MILAN.leaf.der, collateral];
  const verify = ([reportBytes, certificate, pem]: Uint8Array[]): Verification =>
    MILAN.verifier.verify(
      { kind: 'sev-snp', report: reportBytes!, certificates: [{ name: 'vcek', bytes: certificate! }] },
      { nowMs: NOW_MS, collateral: pem! },
    );
  assert.ok(verify(parts).ok);
  const bytesOrPart = (part: Uint8Array): fc.Arbitrary<Uint8Array> =>
    fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      // Cut off.
      fc.nat(part.length - 1).map((length) => part.slice(0, length)),
      // Bits flipped.
      fc.uniqueArray(fc.nat(part.length * 8 - 1), { minLength: 1, maxLength: 4 }).map((bits) => {
        const changed = part.slice();
        for (const bit of bits) changed[bit >> 3]! ^= 1 << (bit & 7);
        return changed;
      }),
      // Longer.
      fc.uint8Array({ minLength: 1, maxLength: 8 }).map((more) => Uint8Array.of(...part, ...more)),
    );
  const hostile = fc.nat(2).chain((which) => bytesOrPart(parts[which]!).map((bytes) => parts.with(which, bytes)));
  fc.assert(
    fc.property(hostile, (changed) => {
      const verification = verify(changed);
      // Outside the blocks of PEM, anything may stand; every other change is noticed.
      if (verification.ok) assert.notDeepEqual(changed[2], collateral);
    }),
    { numRuns: 500 },
  );
});
