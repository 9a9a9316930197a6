import { AvocadoError } from '../errors.ts';
import { REPORT_DATA_BYTES, SIMULATED_NOTICE } from '../trust/evidence/evidence.ts';
import type { Evidence, EvidenceKind } from '../trust/evidence/evidence.ts';
import { writeEvidence } from '../trust/evidence/evidence-file.ts';
import { providerOf } from '../trust/evidence/providers.ts';
import { verifyEvidence } from '../trust/evidence/verifiers.ts';
import { describeFacts, describeRefusal, factsJson } from './attest-facts.ts';
import { writeOutput } from './attest-files.ts';
import { formatTable } from './table.ts';

export interface ShowOptions {
  readonly kind?: EvidenceKind;
  readonly reportData?: Uint8Array;
  readonly out?: string;
  readonly vendorLatency?: number;
  readonly json?: boolean;
}

/** Real ones before the simulated. */
const ORDER: readonly EvidenceKind[] = ['sev-snp', 'tdx', 'sgx', 'simulated'];

interface Found {
  readonly kind: EvidenceKind;
  readonly evidence: Evidence | undefined;
  /** Why there is none; or what is to be known of it. */
  readonly note: string;
}

export async function show(options: ShowOptions): Promise<void> {
  const kinds = options.kind === undefined ? ORDER : [options.kind];
  const found: Found[] = [];
  for (const kind of kinds) found.push(await tryKind(kind, options));
  const chosen = found.find(({ evidence }) => evidence !== undefined);
  if (chosen?.evidence === undefined) {
    throw new AvocadoError('EVIDENCE_UNAVAILABLE', found.map(({ note }) => note).join('; '));
  }
  const { evidence } = chosen;
  if (options.out !== undefined) writeOutput(options.out, writeEvidence(evidence));
  // The evidence itself went to standard output.
  if (options.out === '-') return;
  const verification = verifyEvidence(evidence, { nowMs: Date.now() });
  if (options.json === true) {
    const kindsJson = found.map(({ kind, evidence: made, note }) => ({ kind, available: made !== undefined, note }));
    const verified = verification.ok ? { facts: factsJson(verification.facts) } : { refusal: verification };
    const content = { kinds: kindsJson, evidence: JSON.parse(writeEvidence(evidence)) as object, ...verified };
    process.stdout.write(`${JSON.stringify(content)}\n`);
    return;
  }
  process.stdout.write(
    formatTable(found.map(({ kind, evidence: made, note }) => [kind, made === undefined ? 'missing' : 'made', note])),
  );
  process.stdout.write(
    verification.ok
      ? `\n${describeFacts(verification.facts)}`
      : `\nIts facts can't be verified here: ${describeRefusal(verification)}\n`,
  );
}

async function tryKind(kind: EvidenceKind, options: ShowOptions): Promise<Found> {
  const reportData = options.reportData ?? new Uint8Array(REPORT_DATA_BYTES);
  try {
    const evidence = await providerOf(kind, { vendorLatencyMs: options.vendorLatency ?? 0 }).makeEvidence(reportData);
    return { kind, evidence, note: kind === 'simulated' ? SIMULATED_NOTICE : `${evidence.report.length} bytes` };
  } catch (error) {
    if (error instanceof AvocadoError && error.code === 'EVIDENCE_UNAVAILABLE') {
      return { kind, evidence: undefined, note: error.message };
    }
    throw error;
  }
}
