import { formatTable } from '../../src/cli/table.ts';
import { SIMULATED_NOTICE } from '../../src/trust/evidence/evidence.ts';
import type { AttestationReport, PathTimes } from './run.ts';

export function formatAttestation(report: AttestationReport): string {
  const row = (name: string, { medianMs, maxMs, totalMs }: PathTimes): string[] => [
    name,
    milliseconds(medianMs),
    milliseconds(maxMs),
    milliseconds(totalMs),
  ];
  const table = formatTable([
    ['admission of an enclave', 'median', 'slowest', `all ${report.enclaves}`],
    row('by the vendor alone', report.vendor),
    row('through LAS', report.las),
  ]);
  return `Vendor's service: ${milliseconds(report.vendorLatencyMs)} (${SIMULATED_NOTICE}). It was asked for CAS and for LAS, once: ${milliseconds(report.lasAttestedMs)}.

${table}
Through LAS ${report.timesFaster.toFixed(1)} times faster (medians); ${report.timesFasterWithLas.toFixed(1)} times with LAS's own attestation, for ${report.enclaves} enclaves of a new host.
`;
}

function milliseconds(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
