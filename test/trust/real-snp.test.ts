import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { Evidence, Verification } from '../../src/trust/evidence/evidence.ts';
import { Policy } from '../../src/trust/evidence/policy.ts';
import { SNP_ROOTS } from '../../src/trust/evidence/snp-endorsement.ts';
import { SnpVerifier } from '../../src/trust/evidence/snp.ts';
import { NO_REAL_EVIDENCE, readReal, REAL_EVIDENCE_MS, REAL_SAMPLES } from './real-evidence.ts';

/** A report of a Milan processor with its VCEK, against AMD's own roots. */
const VERIFIER = new SnpVerifier();
const REAL = { skip: NO_REAL_EVIDENCE };

function realEvidence(report?: Uint8Array): Evidence {
  const evidence = REAL_SAMPLES.find(({ collateralPath }) => collateralPath.startsWith('sev-snp/'))!.evidence();
  return report === undefined ? evidence : { ...evidence, report };
}

function verify(evidence: Evidence, { nowMs = REAL_EVIDENCE_MS, line = 'milan' } = {}): Verification {
  return VERIFIER.verify(evidence, { nowMs, collateral: readReal(`sev-snp/ask_ark_${line}.pem`) });
}

test("the real report verifies up to AMD's root", REAL, () => {
  const verification = verify(realEvidence());
  assert.ok(verification.ok, JSON.stringify(verification));
  const { facts } = verification;
  assert.equal(facts.measurement.slice(0, 16), 'b07af9620f3b839b');
  assert.deepEqual(facts.tcb, { bootloader: 2, tee: 0, snp: 5, microcode: 68, guestSvn: 0 });
  assert.deepEqual([facts.debug, facts.migrationAgent, facts.vmpl], [true, false, 0]);
  assert.deepEqual([...facts.reportData.subarray(0, 6)], [1, 2, 3, 4, 5, 0]);
  assert.match(facts.platformId!, /^3ac3fe21e13fb099[0-9a-f]{112}$/);
  assert.equal(facts.revocationChecked, false);
});

test('a policy refuses it by default, as its guest may be debugged; and accepts what it is told to', REAL, () => {
  const verification = verify(realEvidence());
  assert.ok(verification.ok);
  const { facts } = verification;
  const judge = (entry: object): string | undefined => {
    const measured = { kind: 'sev-snp', measurements: [facts.measurement], ...entry };
    const policy = { format: 'avocado-policy', version: 1, roles: { replica: [measured] } };
    return Policy.parse(JSON.stringify(policy)).judge(facts, { role: 'replica' })?.rule;
  };
  assert.equal(judge({}), 'debug');
  assert.equal(judge({ debug: 'allowed' }), 'revocation-list');
  assert.equal(judge({ debug: 'allowed', revocation: 'optional' }), undefined);
  assert.equal(judge({ debug: 'allowed', revocation: 'optional', minTcb: { microcode: 69 } }), 'tcb');
  assert.equal(judge({ debug: 'allowed', revocation: 'optional', platforms: ['00'] }), 'platform');
});

test('the real report is refused with any one bit of any byte changed', REAL, () => {
  const report = readReal('sev-snp/report.bin');
  for (let i = 0; i < report.length; i++) {
    const changed = report.slice();
    changed[i]! ^= 1 << (i % 8);
    const verification = verify(realEvidence(changed));
    assert.ok(!verification.ok, `accepted with byte ${i} changed`);
    // What is not signed is zero; all else is.
    assert.ok(['signature', 'malformed'].includes(verification.rule), `byte ${i}: ${verification.rule}`);
  }
});

test("the real chain is refused out of its time, crossed with others' links, and incomplete", REAL, () => {
  const rule = (verification: Verification): string => (verification.ok ? 'accepted' : verification.rule);
  assert.equal(rule(verify(realEvidence(), { nowMs: Date.parse('2029-09-25T00:00:00Z') })), 'expired');
  assert.equal(rule(verify(realEvidence(), { nowMs: Date.parse('2022-09-23T00:00:00Z') })), 'not-yet-valid');
  assert.equal(rule(verify(realEvidence(), { line: 'genoa' })), 'chain');
  assert.equal(rule(verify(realEvidence(), { line: 'turin' })), 'chain');
  assert.equal(rule(VERIFIER.verify(realEvidence(), { nowMs: REAL_EVIDENCE_MS })), 'collateral');
  const certificates = realEvidence().certificates.map(({ bytes }) => ({
    name: 'vcek' as const,
    bytes: bytes.slice(),
  }));
  // The last byte is of the signature by AMD's ASK.
  certificates[0]!.bytes[certificates[0]!.bytes.length - 1]! ^= 1;
  assert.equal(rule(verify({ ...realEvidence(), certificates })), 'chain');
  const withoutMilan = new SnpVerifier(new Map([...SNP_ROOTS].filter(([, line]) => line !== 'Milan')));
  const collateral = readReal('sev-snp/ask_ark_milan.pem');
  assert.equal(rule(withoutMilan.verify(realEvidence(), { nowMs: REAL_EVIDENCE_MS, collateral })), 'root');
});

test("the pinned roots are AMD's, of all three lines, and sign themselves and their ASKs", REAL, () => {
  for (const [fingerprint, line] of SNP_ROOTS) {
    const pem = new TextDecoder().decode(readReal(`sev-snp/ask_ark_${line.toLowerCase()}.pem`));
    const [ask, ark] = pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g)!.map((text) => new X509Certificate(text));
    assert.equal(createHash('sha256').update(ark!.raw).digest('hex'), fingerprint);
    assert.match(ark!.subject, new RegExp(`CN=ARK-${line}$`));
    assert.ok(ark!.verify(ark!.publicKey) && ask!.verify(ark!.publicKey));
  }
});
