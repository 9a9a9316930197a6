import type { Operation } from './operation.ts';

/**
 * What is certain about a write: it took effect before anything that starts after `firstEnd`, and after anything that
 * ends before `lastStart`. Where a value was put once, the gets of it say more than the put itself, since no other write
 * can come between it and them.
 */
export interface Zone {
  readonly firstEnd: number;
  readonly lastStart: number;
}

export function zonesOf(operations: readonly Operation[]): (write: Operation) => Zone {
  const zones = new Map<string, { putCount: number; firstEnd: number; lastStart: number }>();
  for (const { kind, value, start, end } of operations) {
    if (value === undefined) continue;
    const zone = zones.get(value) ?? { putCount: 0, firstEnd: Infinity, lastStart: -Infinity };
    zone.putCount += kind === 'put' ? 1 : 0;
    zone.firstEnd = Math.min(zone.firstEnd, end);
    zone.lastStart = Math.max(zone.lastStart, start);
    zones.set(value, zone);
  }
  return ({ value, start, end }) => {
    const zone = value === undefined ? undefined : zones.get(value);
    return zone?.putCount === 1 ? zone : { firstEnd: end, lastStart: start };
  };
}
