import { combine, split } from 'shamir-secret-sharing';

/**
 * A secret in n shares, of which any k give it back and fewer tell nothing (Shamir, "How to share a secret", 1979).
 * What comes out of the wrong shares is some other secret: whoever uses it must check it by opening something.
 */
export const SHARES_MAX = 16;

/** @param threshold 2 .. shareCount. */
export async function splitSecret(secret: Uint8Array, shareCount: number, threshold: number): Promise<Uint8Array[]> {
  return split(Uint8Array.from(secret), shareCount, threshold);
}

/** Undefined when these can't be shares of one secret: too few, of different lengths, one given twice. */
export async function combineShares(shares: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
  try {
    return await combine(shares.map((share) => Uint8Array.from(share)));
  } catch {
    return undefined;
  }
}
