/**
 * A stamp orders the writes of one key: (counter, writer, rmw), compared in that order. The counter is the writer's own
 * and only grows; the writer id, drawn at random, tells two writers with the same counter apart; rmw numbers the
 * read-modify-writes on top of a plain write, which carries rmw 0.
 *
 * Stamps are passed as plain numbers, never as objects: the counter up to 2^53-1, the writer (u64) as two int32 words,
 * rmw (u32) as one. The words are unsigned numbers in signed clothes, as an Int32Array gives them.
 * All zero means "none": a key that was never written. No write carries it, because counters start at 1.
 */
export const STAMP_COUNTER_MAX = Number.MAX_SAFE_INTEGER;

export type Order = -1 | 0 | 1;

/** -1 when the first stamp is the older one, 1 when it is the newer one. */
export function compareStamps(
  counterA: number,
  writerHighA: number,
  writerLowA: number,
  rmwA: number,
  counterB: number,
  writerHighB: number,
  writerLowB: number,
  rmwB: number,
): Order {
  if (counterA !== counterB) return counterA < counterB ? -1 : 1;
  if (writerHighA !== writerHighB) return compareUnsigned(writerHighA, writerHighB);
  if (writerLowA !== writerLowB) return compareUnsigned(writerLowA, writerLowB);
  return compareUnsigned(rmwA, rmwB);
}

/** Flipping the top bit turns the order of unsigned words into that of signed ones. */
function compareUnsigned(a: number, b: number): Order {
  const flippedA = a ^ 0x8000_0000;
  const flippedB = b ^ 0x8000_0000;
  return flippedA === flippedB ? 0 : flippedA < flippedB ? -1 : 1;
}
