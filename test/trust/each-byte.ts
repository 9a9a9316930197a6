/** Hands in the bytes with one of them changed, each in its turn; each time another of its bits. */
export function changeEachByte(bytes: Uint8Array, check: (changed: Buffer, offset: number) => void): void {
  const changed = Buffer.from(bytes);
  for (let offset = 0; offset < changed.length; offset++) {
    const bit = 1 << ((offset * 3) % 8);
    changed[offset]! ^= bit;
    check(changed, offset);
    changed[offset]! ^= bit;
  }
}
