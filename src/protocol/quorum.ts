import { MEMBERS_MAX } from './messages.ts';

/** Sets of members are bit masks: bit i stands for member i of the configuration. */

/** A majority of all n members: any two quorums share a member. */
export function quorumOf(memberCount: number): number {
  return Math.floor(memberCount / 2) + 1;
}

const COUNTS = Uint8Array.from({ length: 1 << MEMBERS_MAX }, (_, mask) => {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
});

/** Members in a mask. */
export function memberCountOf(mask: number): number {
  return COUNTS[mask]!;
}

export function hasMember(mask: number, member: number): boolean {
  return (mask & (1 << member)) !== 0;
}
