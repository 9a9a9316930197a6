import type { Interval, Model } from './model.ts';

/**
 * Whether an order explains the history: it has each operation that has ended once, none before another that ended
 * before it began, and the model takes them one after the other. Whoever claims that a history is linearizable has its
 * claim checked by this.
 */
export function isExplainedBy<State, Op extends Interval>(
  model: Model<State, Op>,
  operations: readonly Op[],
  order: ArrayLike<number>,
): boolean {
  const isPlaced = new Uint8Array(operations.length);
  let state: State | undefined = model.initial;
  for (let i = 0; i < order.length; i++) {
    const operation = operations[order[i]!];
    if (operation === undefined || isPlaced[order[i]!] === 1) return false;
    isPlaced[order[i]!] = 1;
    state = model.step(state, operation);
    if (state === undefined) return false;
  }
  if (operations.some(({ end }, index) => isPlaced[index] === 0 && end < Infinity)) return false;
  let laterEndMin = Infinity;
  for (let i = order.length - 1; i >= 0; i--) {
    const { start, end } = operations[order[i]!]!;
    if (laterEndMin < start) return false;
    laterEndMin = Math.min(laterEndMin, end);
  }
  return true;
}
