/**
 * Why a datagram or message was not acted on. Nothing from the network throws; everything that is refused is counted
 * here, by reason, and shown by `avocado status`.
 */
export const DROP_REASONS = [
  /** Fewer bytes than its kind needs, or no multiple of 8. */
  'short',
  'unknown-version',
  'unknown-kind',
  'wrong-mode',
  /** No session of that index. */
  'no-session',
  'session-expired',
  /** Not the address the session was made with. */
  'wrong-address',
  /** Lengths in the header do not add up. */
  'wrong-length',
  'replayed',
  'forged',
  /** Authentic, but not a well-formed sequence of messages. */
  'malformed',
  /** Message 1 or 2 without a fitting mac1: its sender does not know our static key. */
  'wrong-mac1',
  /** A cookie was due and missing, or did not fit. */
  'cookie-due',
  /** The Noise handshake failed: another cluster, or corrupted. */
  'handshake-failed',
  'certificate-refused',
  /** A session that was ended, with what was under way in it: its peer was revoked. */
  'session-revoked',
  /** Message 2 or a cookie for no handshake under way. */
  'no-handshake',
  /** A half-open session gave way to another; its host, or the busiest, had its share. */
  'half-open-full',
  /** More message 1 than Diffie-Hellman is spent on. */
  'handshakes-limited',
  'sessions-full',
  'receive-slots-full',
  'send-slots-full',
  'send-failed',
  /** Sending would exceed the bytes in flight that the receiver can hold; sent again later. */
  'flight-full',
  /** A quorum message for another epoch. */
  'wrong-epoch',
  /** A quorum message at a replica outside the cluster instance. */
  'not-active',
  /** A fresh WRITE with another writer's stamp. */
  'wrong-writer',
  'not-permitted',
  /** A new value under a data key that is unknown here, or about to be destroyed. */
  'old-data-key',
  /** A WRITE with a known stamp and another tag. */
  'stamp-conflict',
  /** A stamp's counter, or a ballot's number, that is further above those known than time can have brought it. */
  'counter-too-far',
  /** An answer to an operation or phase that has ended. */
  'late-answer',
  /** A call that was followed by another in its slot. */
  'late-call',
  /** A message that this role does not take. */
  'unexpected-message',
  /** A REPAIR that cannot be used: other stamp or tag, offered copy unreadable, or own copy is fine. */
  'repair-unusable',
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

export class DropCounters {
  readonly #counts: Record<DropReason, number>;

  constructor() {
    this.#counts = Object.fromEntries(DROP_REASONS.map((reason) => [reason, 0])) as Record<DropReason, number>;
  }

  count(reason: DropReason): void {
    this.#counts[reason]++;
  }

  of(reason: DropReason): number {
    return this.#counts[reason];
  }

  total(): number {
    return DROP_REASONS.reduce((sum, reason) => sum + this.#counts[reason], 0);
  }

  /** Reasons that occurred. */
  nonZero(): Partial<Record<DropReason, number>> {
    return Object.fromEntries(DROP_REASONS.filter((r) => this.#counts[r] > 0).map((r) => [r, this.#counts[r]]));
  }
}
