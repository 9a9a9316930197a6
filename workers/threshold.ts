import type { SecurityMode } from '../net/mode.ts';

/** Modes in which there is anything to seal. */
export type SealedMode = Exclude<SecurityMode, 'plaintext'>;

/** From what size on a job is handed over, and what else counts as bytes sealed. */
export interface Threshold {
  /** Sealing so many bytes takes the loop as long as handing them over. */
  readonly fromBytes: number;
  /** What a byte costs that is only authenticated: part of one that is encrypted, too. */
  readonly associatedShare: number;
  /** What copying a byte costs, likewise. */
  readonly copyShare: number;
}

/** Bytes sealed that cost as much as this datagram. */
export function datagramWork(
  threshold: Threshold,
  mode: SealedMode,
  controlOffset: number,
  controlBytes: number,
): number {
  if (mode === 'secure') return controlBytes + threshold.associatedShare * controlOffset;
  return threshold.associatedShare * (controlOffset + controlBytes);
}
