import { formatTime } from '../trust/evidence/chain.ts';
import { SIMULATED_NOTICE } from '../trust/evidence/evidence.ts';
import type { MeasuredFacts, Refusal } from '../trust/evidence/evidence.ts';
import { hexOf } from '../trust/hex.ts';
import { formatTable } from './table.ts';

/** Verified facts for people and for machines. */
export function describeFacts(facts: MeasuredFacts): string {
  const tcb = Object.entries(facts.tcb).map(([name, value]) => `${name} ${value}`);
  const rows: [string, string][] = [
    ['kind', facts.kind === 'simulated' ? `simulated (${SIMULATED_NOTICE})` : facts.kind],
    ['measurement', facts.measurement],
    ['signers', facts.signers.join(', ') || 'none'],
    ['report data', hexOf(facts.reportData)],
    ['TCB', tcb.join(', ') || 'none'],
    ['TCB status', facts.tcbStatus ?? 'the vendor gives none'],
    ['advisories', facts.advisoryIds.join(', ') || 'none'],
    ['debugging', facts.debug ? 'allowed' : 'no'],
    ['migration agent', facts.migrationAgent ? 'allowed' : 'no'],
    ['platform', facts.platformId ?? 'hidden'],
    ['VMPL', facts.vmpl === undefined ? 'none' : String(facts.vmpl)],
    ['revocation', facts.revocationChecked ? 'checked, nothing revoked' : 'not checked'],
    ['valid', `${formatTime(facts.validFromMs)} to ${formatTime(facts.validUntilMs)}`],
    ...Object.entries(facts.registers).map(([name, value]): [string, string] => [`register ${name}`, value]),
    ...facts.shown.map(({ label, value }): [string, string] => [label, value]),
  ];
  return formatTable(rows.map(([label, value]) => [`  ${label}`, printable(value)]));
}

export function factsJson(facts: MeasuredFacts): object {
  return {
    ...facts,
    reportData: hexOf(facts.reportData),
    validFrom: formatTime(facts.validFromMs),
    validUntil: formatTime(facts.validUntilMs),
    ...(facts.kind === 'simulated' ? { notice: SIMULATED_NOTICE } : {}),
  };
}

export function describeRefusal({ rule, allowed, seen }: Refusal): string {
  return printable(`${rule}; allowed: ${allowed}; seen: ${seen}`);
}

/** Texts out of certificates are a stranger's: no control characters reach a terminal. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
}
