import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKeyPair } from '../../workers/signing.ts';
import type { Evidence } from '../../src/trust/evidence/evidence.ts';
import {
  embeddedVendorKeys,
  SimulatedProvider,
  SimulatedVendor,
  SimulatedVerifier,
} from '../../src/trust/evidence/simulated.ts';
import type { SimulatedProviderOptions, SimulatedVendorOptions } from '../../src/trust/evidence/simulated.ts';

const NOW_MS = Date.parse('2026-03-01T00:00:00Z');
const MEASUREMENT = new Uint8Array(48).fill(0xa5);
const REPORT_DATA = new Uint8Array(64).fill(7);
const VERIFIER = new SimulatedVerifier();

function makeVendor(options: Partial<SimulatedVendorOptions> = {}): SimulatedVendor {
  return new SimulatedVendor({
    keys: embeddedVendorKeys(),
    latencyMs: 0,
    nowMs: () => NOW_MS,
    sleep: () => assert.fail('nobody waits'),
    ...options,
  });
}

function makeEvidence(options: Partial<SimulatedProviderOptions> = {}): Promise<Evidence> {
  const provider = new SimulatedProvider({
    vendor: makeVendor(),
    platformId: new Uint8Array(32).fill(1),
    measurement: MEASUREMENT,
    ...options,
  });
  return provider.makeEvidence(REPORT_DATA);
}

test('simulated evidence verifies and says what was measured and bound', async () => {
  const verification = VERIFIER.verify(await makeEvidence({ securityVersion: 3 }), { nowMs: NOW_MS });
  assert.ok(verification.ok);
  const { facts } = verification;
  assert.equal(facts.measurement, 'a5'.repeat(48));
  assert.deepEqual([...facts.reportData], [...REPORT_DATA]);
  assert.deepEqual(facts.tcb, { securityVersion: 3 });
  assert.equal(facts.platformId, '01'.repeat(32));
  assert.equal(facts.debug, false);
});

test('with any bit of report or certificate changed it is refused', async () => {
  const evidence = await makeEvidence();
  const certificate = evidence.certificates[0]!;
  for (const original of [evidence.report, certificate.bytes]) {
    for (let i = 0; i < original.length; i++) {
      const bytes = original.slice();
      bytes[i]! ^= 1 << (i % 8);
      const changed =
        original === evidence.report
          ? { ...evidence, report: bytes }
          : { ...evidence, certificates: [{ ...certificate, bytes }] };
      const verification = VERIFIER.verify(changed, { nowMs: NOW_MS });
      assert.ok(!verification.ok, `accepted with byte ${i} changed`);
    }
  }
});

test('another vendor, another platform, another time are refused', async () => {
  const rule = (evidence: Evidence, nowMs = NOW_MS): string => {
    const verification = VERIFIER.verify(evidence, { nowMs });
    return verification.ok ? 'accepted' : verification.rule;
  };
  const own = await makeEvidence();
  assert.equal(rule(own), 'accepted');
  assert.equal(rule(await makeEvidence({ vendor: makeVendor({ keys: generateSigningKeyPair() }) })), 'root');
  const other = await makeEvidence({ platformId: new Uint8Array(32).fill(2) });
  assert.equal(rule({ ...own, certificates: other.certificates }), 'signature');
  assert.equal(rule({ ...own, certificates: [] }), 'malformed');
  assert.equal(rule({ ...own, report: own.report.slice(1) }), 'malformed');
  assert.equal(rule(own, NOW_MS - 3_600_000), 'not-yet-valid');
  assert.equal(rule(own, NOW_MS + 31 * 24 * 3_600_000), 'expired');
});

test('the vendor takes its time, for each evidence', async () => {
  const sleptMs: number[] = [];
  const vendor = makeVendor({
    latencyMs: 250,
    sleep: (ms) => {
      sleptMs.push(ms);
      return Promise.resolve();
    },
  });
  await makeEvidence({ vendor });
  await makeEvidence({ vendor });
  assert.deepEqual(sleptMs, [250, 250]);
});
