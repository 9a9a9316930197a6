import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Evidence } from '../../src/trust/evidence/evidence.ts';

/**
 * Published samples of real hardware: data of others, which lies beside a checkout and not in it. Tests on them are skipped
 * and say so where it is missing; AVOCADO_REAL_EVIDENCE names another place.
 */
const PLACES = [
  ...(process.env['AVOCADO_REAL_EVIDENCE'] === undefined ? [] : [process.env['AVOCADO_REAL_EVIDENCE']]),
  ...['../../../../shared/evidence', '../../../../../shared/evidence'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  ),
];

export const REAL_EVIDENCE = PLACES.find((place) => existsSync(place));

/** For the `skip` of a test. */
export const NO_REAL_EVIDENCE: string | false =
  REAL_EVIDENCE === undefined &&
  `no samples of real hardware: neither in AVOCADO_REAL_EVIDENCE nor in ${PLACES.slice(-2).join(', ')}`;

/** The samples' collateral expires; at this time all is valid. */
export const REAL_EVIDENCE_MS = Date.parse('2025-06-25T00:00:00Z');

/** @param path Relative to the samples' folder. */
export function readReal(path: string): Uint8Array {
  return new Uint8Array(readFileSync(`${REAL_EVIDENCE}/${path}`));
}

export interface RealSample {
  /** Of which hardware. */
  readonly name: string;
  readonly evidence: () => Evidence;
  /** Relative to the samples' folder. */
  readonly collateralPath: string;
}

export const REAL_SAMPLES: readonly RealSample[] = [
  {
    name: 'SEV-SNP report, version 2, Milan',
    evidence: () => ({
      kind: 'sev-snp',
      report: readReal('sev-snp/report.bin'),
      certificates: [{ name: 'vcek', bytes: readReal('sev-snp/vcek.der') }],
    }),
    collateralPath: 'sev-snp/ask_ark_milan.pem',
  },
  {
    name: 'SGX quote, version 3',
    evidence: () => ({ kind: 'sgx', report: readReal('sgx/quote.bin'), certificates: [] }),
    collateralPath: 'sgx/collateral.json',
  },
  {
    name: 'TDX quote, version 4',
    evidence: () => ({ kind: 'tdx', report: readReal('tdx/quote.bin'), certificates: [] }),
    collateralPath: 'tdx/collateral.json',
  },
];
