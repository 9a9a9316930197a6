/**
 * The sizes of blocks in host memory: multiples of 16 bytes up to 128, then four steps a power of two (160, 192, 224,
 * 256, 320, ...). A block is thus at most a quarter longer than what it holds (above 64 bytes), with few enough classes
 * that each can have segments of its own: 8 up to 128 bytes, and 4 for each doubling.
 *
 * 16 bytes are the smallest step because values start on 8-byte boundaries and a sealed one has at least 32 bytes.
 */
export const BLOCK_STEP_BYTES = 16;

/** Classes 0 to 7 are the multiples of 16 bytes. */
const LINEAR_CLASSES = 8;
const LINEAR_BYTES_MAX = LINEAR_CLASSES * BLOCK_STEP_BYTES;

/** The smallest class whose blocks hold byteCount bytes (at least 1). */
export function sizeClassOf(byteCount: number): number {
  if (byteCount <= LINEAR_BYTES_MAX) return ((byteCount + 15) >> 4) - 1;
  // 2^exponent < byteCount <= 2^(exponent + 1), cut in four steps; the exponent is 7 for the first such class, 8.
  const exponent = 31 - Math.clz32(byteCount - 1);
  const step = ((byteCount - 1) >> (exponent - 2)) & 3;
  return LINEAR_CLASSES + ((exponent - 7) << 2) + step;
}

export function sizeClassBytes(sizeClass: number): number {
  if (sizeClass < LINEAR_CLASSES) return (sizeClass + 1) * BLOCK_STEP_BYTES;
  const exponent = 7 + ((sizeClass - LINEAR_CLASSES) >> 2);
  const step = (sizeClass - LINEAR_CLASSES) & 3;
  return (5 + step) << (exponent - 2);
}
