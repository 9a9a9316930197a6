import type { CasState, MemberRecord } from './cas-state.ts';
import { Refused } from './https-service.ts';
import { REVOCATIONS_MAX } from './messages.ts';
import type { Revocations } from './messages.ts';

/** Whom nobody deals with any more: by key, and by the LAS that has vouched for them. */

type RevocationState = Pick<
  CasState,
  'lases' | 'members' | 'revoked' | 'revocationSequence' | 'certificateSeconds' | 'refreshSeconds'
>;

/**
 * What CAS signs and hands out with the configuration. Who answers a handshake shows no certificate: so members stand in the
 * list by key as soon as their certificates are worth nothing, because their LAS was revoked or because they have ended.
 */
export function revocationsOf(state: RevocationState & Pick<CasState, 'clusterId'>): Revocations {
  const ofMembers = state.members.flatMap((member) => (isMemberOut(state, member) ? (member.staticKey ?? []) : []));
  const staticKeys = new Set([...state.revoked.map(({ staticKey }) => staticKey), ...ofMembers]);
  return {
    clusterId: state.clusterId,
    sequence: state.revocationSequence,
    staticKeys: [...staticKeys],
    groups: state.lases.flatMap(({ revoked, group }) => (revoked ? [group] : [])),
  };
}

function isMemberOut(state: Pick<CasState, 'lases'>, member: MemberRecord): boolean {
  return member.hasLapsed || isOfRevokedLas(state, member);
}

/** By an operator: its key, or its LAS. It takes no further part, and nothing waits for it. */
export function isRevoked(
  state: Pick<CasState, 'lases' | 'revoked'>,
  member: Pick<MemberRecord, 'staticKey' | 'group'>,
): boolean {
  return isOfRevokedLas(state, member) || state.revoked.some(({ staticKey }) => staticKey === member.staticKey);
}

/** Whatever vouches for it next: a key that a revoked LAS has vouched for may be anybody's. */
export function isOfRevokedLas({ lases }: Pick<CasState, 'lases'>, { group }: Pick<MemberRecord, 'group'>): boolean {
  return lases.some((las) => las.revoked && las.group === group);
}

/** So often a member has looked after its certificate has ended: one that is late only is not put out. */
const LOOKS_OF_GRACE = 2;

/**
 * Takes note of members whose certificates have ended, as CAS did not renew them.
 * @returns Which.
 */
export function lapseMembers(state: RevocationState, nowMs: number): number[] {
  const graceMs = LOOKS_OF_GRACE * state.refreshSeconds * 1000;
  const lapsed = state.members.flatMap((member, index) =>
    member.staticKey !== null && !member.hasLapsed && nowMs >= member.expirySeconds * 1000 + graceMs ? [index] : [],
  );
  for (const index of lapsed) state.members[index]!.hasLapsed = true;
  if (lapsed.length > 0) state.revocationSequence++;
  return lapsed;
}

/**
 * Into the list that CAS signs. They stay until room is needed, also when their certificates have expired: a process that
 * still runs would be admitted with the same key otherwise.
 * @throws Refused when the list is full of keys whose certificates may be good yet.
 */
export function revokeKeys(state: RevocationState, staticKeys: readonly string[], nowSeconds: number): void {
  const expirySeconds = nowSeconds + state.certificateSeconds;
  const others = state.revoked.filter((each) => !staticKeys.includes(each.staticKey));
  const excess = Math.max(0, others.length + staticKeys.length - REVOCATIONS_MAX);
  // The first ones are the oldest.
  const dropped = new Set(others.filter((each) => each.expirySeconds <= nowSeconds).slice(0, excess));
  if (dropped.size < excess) {
    throw new Refused(
      'later',
      `${REVOCATIONS_MAX} keys are revoked: revoke their LAS, or wait until some have expired`,
    );
  }
  const kept = others.filter((each) => !dropped.has(each));
  state.revoked = [...kept, ...staticKeys.map((staticKey) => ({ staticKey, expirySeconds }))];
  state.revocationSequence++;
}
