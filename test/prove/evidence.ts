import type { Evidence, Verification } from '../../src/trust/evidence/evidence.ts';
import { verifyEvidence } from '../../src/trust/evidence/verifiers.ts';
import { readReal, REAL_EVIDENCE, REAL_EVIDENCE_MS, REAL_SAMPLES } from '../trust/real-evidence.ts';
import { makeEvidence, makeReport, makeSnpWorld, NOW_MS } from '../trust/snp-world.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

export const evidence: Proof = {
  name: 'evidence',
  subject: 'evidence of real hardware verifies in its time, and is refused with any byte of it changed',
  timeoutMs: 5 * MINUTE_MS,
  run: (context) => Promise.resolve(proveEvidence(context)),
};

interface Sample {
  readonly name: string;
  readonly evidence: Evidence;
  readonly nowMs: number;
  readonly verify: (evidence: Evidence, nowMs: number) => Verification;
}

function proveEvidence({ progress }: ProofContext): ClaimResult[] {
  const samples = REAL_EVIDENCE === undefined ? [] : REAL_SAMPLES.map(realSample);
  if (samples.length === 0) progress('no samples of real hardware here: AVOCADO_REAL_EVIDENCE names their folder');
  return [madeSample(), ...samples].map((sample) => {
    progress(sample.name);
    return judge(sample);
  });
}

function realSample({ name, evidence: read, collateralPath }: (typeof REAL_SAMPLES)[number]): Sample {
  const collateral = readReal(collateralPath);
  return {
    name: `real ${name}`,
    evidence: read(),
    nowMs: REAL_EVIDENCE_MS,
    verify: (changed, nowMs) => verifyEvidence(changed, { nowMs, collateral }),
  };
}

/** With a revocation list, which the real samples of SNP don't have. */
function madeSample(): Sample {
  const world = makeSnpWorld();
  const collateral = world.collateral(world.list());
  return {
    name: 'SEV-SNP report of our own making',
    evidence: makeEvidence(world, makeReport(world, { version: 5 })),
    nowMs: NOW_MS,
    verify: (changed, nowMs) => world.verifier.verify(changed, { nowMs, collateral }),
  };
}

function judge({ name, evidence: original, nowMs, verify }: Sample): ClaimResult {
  const startedMs = performance.now();
  const whole = verify(original, nowMs);
  const tookMs = performance.now() - startedMs;
  let acceptedCount = 0;
  const refusals: Record<string, number> = {};
  for (let i = 0; i < original.report.length; i++) {
    const report = original.report.slice();
    report[i]! ^= 1 << (i % 8);
    const changed = verify({ ...original, report }, nowMs);
    if (changed.ok) acceptedCount++;
    else refusals[changed.rule] = (refusals[changed.rule] ?? 0) + 1;
  }
  // All chains end within this century, and none began in the last one.
  const later = verify(original, Date.parse('2099-01-01T00:00:00Z'));
  const earlier = verify(original, Date.parse('2000-01-01T00:00:00Z'));
  const isTimely = !later.ok && later.rule === 'expired' && !earlier.ok && earlier.rule === 'not-yet-valid';
  const rules = Object.entries(refusals).map(([rule, times]) => `${rule} ${count(times)}`);
  const atPinned = whole.ok ? 'verified' : `REFUSED: ${whole.rule}, ${whole.seen}`;
  const outOfTime = `${later.ok ? 'VERIFIED' : later.rule} later, ${earlier.ok ? 'VERIFIED' : earlier.rule} earlier`;
  return {
    claim: `${name}: verifies in its time, and is refused out of it and with any byte changed`,
    ok: whole.ok && acceptedCount === 0 && isTimely,
    figures:
      `${atPinned} at ${new Date(nowMs).toISOString().slice(0, 10)} in ${tookMs.toFixed(1)} ms; ${outOfTime}; ` +
      `of ${count(original.report.length)} changed bytes ${acceptedCount} accepted (refused by ${rules.join(', ')})`,
    data: { reportBytes: original.report.length, verified: whole.ok, acceptedCount, refusals, tookMs },
  };
}
