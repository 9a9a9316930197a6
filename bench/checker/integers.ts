/** Numbers as increments read and write them: the decimal text of a signed 64-bit integer, as in Redis. */
const INTEGER = /^(0|-?[1-9][0-9]{0,18})$/;
const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);

/** Undefined: not the text that an increment would have written. */
export function numberIn(value: string): bigint | undefined {
  if (!INTEGER.test(value)) return undefined;
  const number = BigInt(value);
  return number >= MIN && number <= MAX ? number : undefined;
}

/** What an increment makes of a value, absent being 0; undefined: it can't. */
export function sumOf(value: string | null, delta: bigint): string | undefined {
  const number = value === null ? 0n : numberIn(value);
  if (number === undefined) return undefined;
  const sum = number + delta;
  return sum >= MIN && sum <= MAX ? String(sum) : undefined;
}
