import { longHash } from '../../../workers/signing.ts';
import { keyReportText } from '../key-report.ts';
import type { KeyReport } from '../key-report.ts';

/**
 * What the reports of the chain bind. Each begins with its purpose, and each value with its length, so that no report
 * made for one thing can be shown for another.
 *
 *     purpose               values
 *     cas identity          nonce of the asker, TLS certificate (DER), document (UTF-8)
 *     las registration      nonce of CAS, TLS certificate (DER), voucher key, URL (UTF-8)
 *     join                  nonce of CAS, role, member index or nothing, static key, delivery key, profile or nothing,
 *                           report on keys or nothing
 */
export type ReportPurpose = 'cas identity' | 'las registration' | 'join';

const PREFIX = 'avocado report 1';
const LENGTH_BYTES = 4;

/** 64 bytes. */
export function reportDataFor(purpose: ReportPurpose, values: readonly (Uint8Array | string)[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const value of [PREFIX, purpose, ...values]) {
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
    const length = new Uint8Array(LENGTH_BYTES);
    new DataView(length.buffer).setUint32(0, bytes.length, true);
    parts.push(length, bytes);
  }
  return longHash(Buffer.concat(parts));
}

/** What a replica or a client has its platform, or its LAS, vouch for. */
export interface JoinClaim {
  readonly role: 'replica' | 'client';
  /** Of a replica; null for a client. */
  readonly memberIndex: number | null;
  /** Hex, as in all messages of the chain. */
  readonly nonce: string;
  readonly staticKey: string;
  readonly deliveryKey: string;
  /** Of a client (profiles.ts); null for a replica. */
  readonly profile: string | null;
  /** Of a replica that has something to report. */
  readonly keyReport?: KeyReport | undefined;
}

export function joinReportData(claim: JoinClaim): Uint8Array {
  const { role, memberIndex, nonce, staticKey, deliveryKey, profile, keyReport } = claim;
  const member = memberIndex === null ? '' : String(memberIndex);
  const report = keyReport === undefined ? '' : keyReportText(keyReport);
  return reportDataFor('join', [nonce, role, member, staticKey, deliveryKey, profile ?? '', report]);
}
