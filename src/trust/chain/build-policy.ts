import type { EvidenceKind } from '../evidence/evidence.ts';
import { ROLES } from '../evidence/roles.ts';

/**
 * The text of a policy that accepts one build on one kind of platform, in every role.
 * @param registers Of the build, where its measurement is not of all of it.
 */
export function policyOfBuild(
  kind: EvidenceKind,
  measurement: string,
  registers: Readonly<Record<string, readonly string[]>> = {},
): string {
  const entries = [{ kind, measurements: [measurement], registers }];
  const roles = Object.fromEntries(ROLES.map((role) => [role, entries]));
  return `${JSON.stringify({ format: 'avocado-policy', version: 1, roles }, null, 2)}\n`;
}
