/**
 * A 64-bit number in decimal digits. Inserts make keys in the middle of a measurement, so this allocates nothing, where
 * BigInt and its text would.
 */

/** Nine digits fit into 32 bits; 64 bits have at most 20 digits, two such groups and two digits. */
const GROUP_DIGITS = 9;
const GROUP = 10 ** GROUP_DIGITS;
const DIGIT_ZERO = 0x30;

/**
 * Writes the digits to out from start on and returns their end.
 * @param pair The number, unsigned: low word, high word.
 */
export function writeDecimal(pair: Int32Array, out: Uint8Array, start: number): number {
  const low = pair[0]!;
  const high = pair[1]! >>> 0;
  // Long division by 10^9, 16 bits at a time: remainder and next bits stay below 2^46, where doubles are exact.
  const top = Math.floor(high / GROUP);
  let remainder = (high - top * GROUP) * 0x1_0000 + (low >>> 16);
  const middle = Math.floor(remainder / GROUP);
  remainder = (remainder - middle * GROUP) * 0x1_0000 + (low & 0xffff);
  const bottom = Math.floor(remainder / GROUP);
  const lastGroup = remainder - bottom * GROUP;
  const quotient = top * 0x1_0000_0000 + middle * 0x1_0000 + bottom;
  const firstGroup = Math.floor(quotient / GROUP);
  const middleGroup = quotient - firstGroup * GROUP;

  if (firstGroup > 0) {
    const end = writeGroup(firstGroup, digitsOf(firstGroup), out, start);
    return writeGroup(lastGroup, GROUP_DIGITS, out, writeGroup(middleGroup, GROUP_DIGITS, out, end));
  }
  if (middleGroup > 0) {
    return writeGroup(lastGroup, GROUP_DIGITS, out, writeGroup(middleGroup, digitsOf(middleGroup), out, start));
  }
  return writeGroup(lastGroup, digitsOf(lastGroup), out, start);
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; bound <= value; bound *= 10) digits++;
  return digits;
}

/** With leading zeros up to so many digits. */
function writeGroup(value: number, digits: number, out: Uint8Array, start: number): number {
  let rest = value;
  for (let at = start + digits - 1; at >= start; at--) {
    const tenth = (rest / 10) | 0;
    out[at] = DIGIT_ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return start + digits;
}
