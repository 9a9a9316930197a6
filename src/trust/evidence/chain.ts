import { assert } from '../../../net/assert.ts';
import { refuse } from './evidence.ts';
import type { Refusal } from './evidence.ts';
import { isIssuedBy, isListSignedBy } from './x509.ts';
import type { ParsedCertificate, RevocationList } from './x509.ts';

/** Judges chains of certificates, the leaf first and the root last, and the lists of what was revoked in them. */

export interface ChainRules {
  /** SHA-256 of the DER of each root that is trusted, hex. */
  readonly rootFingerprints: ReadonlySet<string>;
  readonly nowMs: number;
}

/** Undefined when the chain holds. Signatures and root come before dates: dates nobody signed say nothing. */
export function judgeChain(chain: readonly ParsedCertificate[], rules: ChainRules): Refusal | undefined {
  for (let i = 0; i < chain.length; i++) {
    const certificate = chain[i]!;
    const issuer = chain[Math.min(i + 1, chain.length - 1)]!;
    if (!isIssuedBy(certificate, issuer)) {
      const by = `signed by ${commonNameOf(issuer.subjectName)}`;
      return refuse('chain', `${commonNameOf(certificate.subjectName)} ${by}`, 'another signature or name');
    }
    if (i > 0 && (!certificate.maySignCertificates || certificate.pathLengthMax < i - 1)) {
      return refuse('chain', 'authorities that may sign certificates', commonNameOf(certificate.subjectName));
    }
  }
  const root = chain.at(-1);
  if (root === undefined || !rules.rootFingerprints.has(root.fingerprint)) {
    const seen = root === undefined ? 'none' : `${commonNameOf(root.subjectName)}, SHA-256 ${root.fingerprint}`;
    return refuse('root', `a root with SHA-256 ${[...rules.rootFingerprints].join(' or ')}`, seen);
  }
  for (const { subjectName, notBeforeMs, notAfterMs } of chain) {
    const refusal = judgeTime(commonNameOf(subjectName), notBeforeMs, notAfterMs, rules.nowMs);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** @param what Begins what is said of it. */
export function judgeTime(what: string, fromMs: number, untilMs: number, nowMs: number): Refusal | undefined {
  if (nowMs < fromMs) return refuse('not-yet-valid', `${what} from ${formatTime(fromMs)} on`, formatTime(nowMs));
  // Also where a date is no number.
  if (!(nowMs <= untilMs)) return refuse('expired', `${what} until ${formatTime(untilMs)}`, formatTime(nowMs));
  return undefined;
}

export type Revocation =
  /** `lists` are those that were used; `isChecked` if each issuer that had to has one. */
  { readonly ok: true; readonly isChecked: boolean; readonly lists: readonly RevocationList[] } | Refusal;

/**
 * Lists of issuers outside the chain are left aside: one file may hold those of several product lines. That there are
 * lists, and none of them is of this chain, is a mistake and refused.
 * @param issuers Members of the chain whose list is wanted.
 */
export function judgeRevocation(
  chain: readonly ParsedCertificate[],
  lists: readonly RevocationList[],
  issuers: readonly ParsedCertificate[],
  nowMs: number,
): Revocation {
  const used: RevocationList[] = [];
  const listed = new Set<ParsedCertificate>();
  for (const issuer of issuers) {
    const name = commonNameOf(issuer.subjectName);
    for (const list of lists) {
      if (list.issuerName !== issuer.subjectName) continue;
      if (!isListSignedBy(list, issuer)) {
        return refuse('revocation-list', `a list signed by ${name}`, 'one with its name and another signature');
      }
      const refusal = judgeTime(`${name}'s revocation list`, list.thisUpdateMs, list.nextUpdateMs, nowMs);
      if (refusal !== undefined) return refusal;
      const revoked = chain.find(
        ({ issuerName, serial }) => issuerName === issuer.subjectName && list.revokedSerials.has(serial),
      );
      if (revoked !== undefined) {
        const seen = `${commonNameOf(revoked.subjectName)}, serial number ${revoked.serial || '0'}`;
        return refuse('revoked', `certificates that ${name} has not revoked`, seen);
      }
      used.push(list);
      listed.add(issuer);
    }
  }
  if (lists.length > 0 && used.length === 0) {
    const wanted = issuers.map(({ subjectName }) => commonNameOf(subjectName)).join(', ');
    const seen = lists.map(({ issuerName }) => commonNameOf(issuerName)).join(', ');
    return refuse('revocation-list', `lists of ${wanted}`, `lists of ${seen}`);
  }
  return { ok: true, isChecked: listed.size === issuers.length, lists: used };
}

/** The span in which all of them are valid. */
export function validitySpan(
  chain: readonly ParsedCertificate[],
  lists: readonly RevocationList[],
): { validFromMs: number; validUntilMs: number } {
  assert(chain.length > 0, 'a chain has a leaf');
  return {
    validFromMs: Math.max(...chain.map((one) => one.notBeforeMs), ...lists.map((one) => one.thisUpdateMs)),
    validUntilMs: Math.min(...chain.map((one) => one.notAfterMs), ...lists.map((one) => one.nextUpdateMs)),
  };
}

const COMMON_NAME = /(?:^|,)2\.5\.4\.3="((?:[^"\\]|\\.)*)"/;

/** What people call it; names are compared in full. */
export function commonNameOf(name: string): string {
  return COMMON_NAME.exec(name)?.[1] ?? name;
}

/** Dates beyond what Date can hold come from forged bytes only. */
export function formatTime(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? 'an unknown time' : `${date.toISOString().slice(0, 19)}Z`;
}
