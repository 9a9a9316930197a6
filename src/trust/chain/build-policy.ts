import type { EvidenceKind } from '../evidence/evidence.ts';
import { ROLES } from '../evidence/roles.ts';

/** The text of a policy that accepts one build on one kind of platform, in every role. */
export function policyOfBuild(kind: EvidenceKind, measurement: string): string {
  const entries = [{ kind, measurements: [measurement] }];
  const roles = Object.fromEntries(ROLES.map((role) => [role, entries]));
  return `${JSON.stringify({ format: 'avocado-policy', version: 1, roles }, null, 2)}\n`;
}
