import { INSERT, READ, RMW, SCAN, UPDATE } from './load-window.ts';
import type { WriteType } from './workload.ts';

/** What is in flight in a slot of the loop: an operation by its type, or a part of a read-modify-write. */
export { INSERT, READ, RMW, SCAN, UPDATE };
export const RMW_GET = RMW;
export const RMW_PUT = SCAN + 1;
export const ATOMIC_GET = SCAN + 2;
export const ATOMIC_SET = SCAN + 3;
export const INCREMENT = SCAN + 4;

/** With which part an operation begins. */
export const FIRST_KINDS: Readonly<Record<WriteType, number>> = {
  update: UPDATE,
  insert: INSERT,
  rmw: RMW_GET,
  'atomic rmw': ATOMIC_GET,
  increment: INCREMENT,
};

export function isGet(kind: number): boolean {
  return kind === READ || kind === RMW_GET || kind === ATOMIC_GET;
}

/** The get of a read-modify-write: a write follows. */
export function isFirstHalf(kind: number): boolean {
  return kind === RMW_GET || kind === ATOMIC_GET;
}
