import { z } from 'zod';
import { AvocadoError } from '../../errors.ts';
import { CERTIFICATE_NAMES, EVIDENCE_KINDS } from './evidence.ts';
import type { Evidence } from './evidence.ts';
import { base64Bytes, parseStrictJson } from './strict-json.ts';

/**
 * Evidence as a file or a message: JSON with base64.
 *
 *     {
 *       "format": "avocado-evidence",
 *       "version": 1,
 *       "kind": "sev-snp",
 *       "report": "AgAAAA...",
 *       "certificates": [{ "name": "vcek", "bytes": "MIIF..." }]
 *     }
 */
const FORMAT = 'avocado-evidence';
const VERSION = 1;

/** A TDX quote with its certificates has 5 KB, an SNP report 1,184 bytes; Linux hands over 32 KiB at most (tsm.h). */
export const REPORT_BYTES_MAX = 32 * 1024;
/** AMD's have 1.3 to 1.7 KB. */
export const CERTIFICATE_BYTES_MAX = 8 * 1024;
/** Room for all of the above in base64. */
export const EVIDENCE_CHARS_MAX = 128 * 1024;

const SCHEMA = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  kind: z.enum(EVIDENCE_KINDS),
  report: base64Bytes(1, REPORT_BYTES_MAX),
  certificates: z
    .array(z.strictObject({ name: z.enum(CERTIFICATE_NAMES), bytes: base64Bytes(1, CERTIFICATE_BYTES_MAX) }))
    .max(CERTIFICATE_NAMES.length)
    .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'a name is given twice'),
});

export function writeEvidence({ kind, report, certificates }: Evidence): string {
  const content = {
    format: FORMAT,
    version: VERSION,
    kind,
    report: toBase64(report),
    certificates: certificates.map(({ name, bytes }) => ({ name, bytes: toBase64(bytes) })),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}

/**
 * @param what Begins the error's line.
 * @throws AvocadoError EVIDENCE_FILES, naming what is wrong and where.
 */
export function readEvidence(text: string, what = 'the evidence'): Evidence {
  const { kind, report, certificates } = parseStrictJson(text, SCHEMA, what, EVIDENCE_CHARS_MAX);
  return { kind, report, certificates };
}

/** The same from a stranger's bytes: no exception, one line that says why. */
export function parseEvidence(bytes: Uint8Array): { ok: true; evidence: Evidence } | { ok: false; reason: string } {
  try {
    return { ok: true, evidence: readEvidence(new TextDecoder().decode(bytes)) };
  } catch (error) {
    if (error instanceof AvocadoError) return { ok: false, reason: error.message };
    throw error;
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
