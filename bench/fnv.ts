/**
 * FNV-1a with 64 bits (Fowler, Noll, Vo), as YCSB uses it to scatter record numbers. The scatter runs once an
 * operation, so it works on pairs of 32-bit words: out[0] is the low, out[1] the high word. No BigInt, no allocation.
 */

/** The offset basis 0xcbf29ce484222325, split. */
const BASIS_HIGH = 0xcbf29ce4 | 0;
const BASIS_LOW = 0x84222325 | 0;
/** The prime is 2^40 + 0x1b3: multiplying shifts the low word by 8 into the high one and multiplies both by 0x1b3. */
const PRIME_LOW = 0x1b3;

/**
 * The hash that YCSB gives a number (Utils.fnvhash64): the number's eight bytes, lowest first, then Java's Math.abs of
 * the signed result. As in Java, -2^63 has no absolute value and stays as it is.
 * @param value A whole number from 0 to 2^53 - 1.
 */
export function fnvHashNumber(value: number, out: Int32Array): void {
  let low = BASIS_LOW;
  let high = BASIS_HIGH;
  let octets = value | 0;
  for (let i = 0; i < 8; i++) {
    if (i === 4) octets = Math.floor(value / 0x1_0000_0000);
    low ^= octets & 0xff;
    octets >>>= 8;
    // 16 bits at a time, so that each product fits in 32 bits.
    const partLow = (low & 0xffff) * PRIME_LOW;
    const partHigh = (low >>> 16) * PRIME_LOW + (partLow >>> 16);
    high = (Math.imul(high, PRIME_LOW) + (low << 8) + (partHigh >>> 16)) | 0;
    low = (partHigh << 16) | (partLow & 0xffff);
  }
  if (high < 0) {
    high = (~high + (low === 0 ? 1 : 0)) | 0;
    low = -low | 0;
  }
  out[0] = low;
  out[1] = high;
}

/** The plain FNV-1a hash of bytes[start .. end), all 64 bits of it. */
export function fnvHashBytes(bytes: Uint8Array, start: number, end: number, out: Int32Array): void {
  let low = BASIS_LOW;
  let high = BASIS_HIGH;
  for (let i = start; i < end; i++) {
    low ^= bytes[i]!;
    const partLow = (low & 0xffff) * PRIME_LOW;
    const partHigh = (low >>> 16) * PRIME_LOW + (partLow >>> 16);
    high = (Math.imul(high, PRIME_LOW) + (low << 8) + (partHigh >>> 16)) | 0;
    low = (partHigh << 16) | (partLow & 0xffff);
  }
  out[0] = low;
  out[1] = high;
}

/** A pair taken as an unsigned 64-bit number, modulo a divisor of at most 2^32. */
export function moduloOfPair(pair: Int32Array, divisor: number): number {
  const low = pair[0]! >>> 0;
  let rest = remainder(pair[1]! >>> 0, divisor);
  rest = remainder(rest * 0x1_0000 + (low >>> 16), divisor);
  return remainder(rest * 0x1_0000 + (low & 0xffff), divisor);
}

/**
 * The remainder of whole numbers below 2^48. `%` on doubles is a call into C; here the quotient is off by one at most,
 * which the corrections mend.
 */
function remainder(value: number, divisor: number): number {
  const rest = value - Math.floor(value / divisor) * divisor;
  if (rest < 0) return rest + divisor;
  return rest >= divisor ? rest - divisor : rest;
}
