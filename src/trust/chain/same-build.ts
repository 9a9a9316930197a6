import { REPORT_DATA_BYTES, refuse } from '../evidence/evidence.ts';
import type { MeasuredFacts, Refusal } from '../evidence/evidence.ts';
import { hexOf } from '../hex.ts';
import type { EvidenceJudge, Platform } from './platform.ts';

/**
 * Judges another process without a policy file: it must be of the same build as this one, on the same kind of platform,
 * and not open to debugging. CAS, LAS, replicas and clients are one program, so that is the usual case.
 */
export function sameBuild(
  platform: Platform,
  judge: EvidenceJudge,
  nowMs: () => number,
): (facts: MeasuredFacts, reportData: Uint8Array) => Promise<Refusal | undefined> {
  let own: Promise<MeasuredFacts | Refusal> | undefined;
  return async (facts, reportData) => {
    own ??= ownFacts(platform, judge, nowMs);
    const self = await own;
    if ('rule' in self) return self;
    if (Buffer.compare(facts.reportData, reportData) !== 0) {
      return refuse('report-data', hexOf(reportData), hexOf(facts.reportData));
    }
    if (facts.kind !== self.kind) return refuse('kind', `${self.kind}, as this process`, facts.kind);
    if (facts.measurement !== self.measurement) {
      return refuse('measurement', `${self.measurement}, this process's`, facts.measurement);
    }
    if (facts.debug) return refuse('debug', 'no debugging', 'debugging allowed');
    if (facts.migrationAgent) return refuse('migration-agent', 'no migration agent', 'one allowed');
    return undefined;
  };
}

/** By a local report where there is one: it costs nothing. */
async function ownFacts(
  platform: Platform,
  judge: EvidenceJudge,
  nowMs: () => number,
): Promise<MeasuredFacts | Refusal> {
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  const verification =
    platform.local === undefined
      ? judge.verify(await platform.provider.makeEvidence(reportData), nowMs())
      : platform.local.verify(await platform.local.make(reportData));
  return verification.ok ? verification.facts : verification;
}
