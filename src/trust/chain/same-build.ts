import { Policy } from '../evidence/policy.ts';
import { REPORT_DATA_BYTES } from '../evidence/evidence.ts';
import type { MeasuredFacts, Refusal } from '../evidence/evidence.ts';
import { policyOfBuild } from './build-policy.ts';
import type { EvidenceJudge, Platform } from './platform.ts';

/**
 * Judges CAS without a policy file: as by a policy that names this process's own build, and leaves all else as strict as
 * policies are. CAS, LAS, replicas and clients are one program, so that is the usual case.
 */
export function sameBuild(
  platform: Platform,
  judge: EvidenceJudge,
  nowMs: () => number,
): (facts: MeasuredFacts, reportData: Uint8Array) => Promise<Refusal | undefined> {
  let own: Promise<Policy | Refusal> | undefined;
  return async (facts, reportData) => {
    own ??= ownPolicy(platform, judge, nowMs);
    const policy = await own;
    if ('rule' in policy) return policy;
    const refusal = policy.judge(facts, { role: 'cas', reportData });
    if (refusal === undefined || refusal.rule === 'report-data') return refusal;
    return { ...refusal, allowed: `${refusal.allowed}, as this process` };
  };
}

/** On TDX the measurement is of the firmware alone; these are of kernel, initrd and command line. */
const TDX_REGISTERS = ['rtmr1', 'rtmr2'];

/** By a local report where there is one: it costs nothing. */
async function ownPolicy(platform: Platform, judge: EvidenceJudge, nowMs: () => number): Promise<Policy | Refusal> {
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  const verification =
    platform.local === undefined
      ? judge.verify(await platform.provider.makeEvidence(reportData), nowMs())
      : platform.local.verify(await platform.local.make(reportData));
  if (!verification.ok) return verification;
  const { kind, measurement, registers } = verification.facts;
  const names = kind === 'tdx' ? TDX_REGISTERS : [];
  const own = Object.fromEntries(names.map((name) => [name, [registers[name] ?? 'none']]));
  return Policy.parse(policyOfBuild(kind, measurement, own));
}
