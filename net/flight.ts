import {
  BULK_RESERVE_PART,
  BURST_REST_MS_MAX,
  BURST_SHARES_MAX,
  CREDIT_AGE_MS,
  CREDIT_BYTES_MIN,
  CREDIT_OLD_PART,
  DATAGRAM_RECORD_BYTES,
  FLIGHT_PACKETS_MAX,
  FLIGHT_TIMEOUT_MS_MAX,
  FLIGHT_TIMEOUT_MS_MIN,
} from './limits.ts';

/**
 * Bytes in flight of one session: sent, and neither received nor given up; what the receiver's kernel adds to a datagram
 * counts, too. Every datagram acknowledges the largest packet number received (in its preamble); what was sent up to
 * there has arrived or is lost, and is in flight no more. Keeps a sender within the credit that the receiver grants, anew
 * in each of its datagrams. Within it the sender's own limit is halved when there is no answer for long, and grows back by
 * what arrives. It answers to loss as in NewReno (RFC 9002, 7.3): halved, at most once in what was in flight then, and
 * grown back by a datagram a round trip.
 *
 * Where the limit is less than a datagram, one that is larger may go when nothing else is in flight, and a rest follows it,
 * so that what is in flight is within the limit over time. Many that share a buffer take turns so, instead of sending a few
 * messages at a time each.
 */
export class Flight {
  /** Bytes that may be in flight now. */
  limitBytes: number;
  #creditBytes: number;
  /** When the last datagram came, and with it the credit. */
  #grantedMs: number;
  /** In flight up to and including a packet since the session began, by packet number. */
  readonly #sentBytesAt = new Float64Array(FLIGHT_PACKETS_MAX);
  #sentBytes = 0;
  #sentNumber = -1;
  #goneBytes = 0;
  #goneNumber = -1;
  #progressMs = 0;
  #timeoutMs = FLIGHT_TIMEOUT_MS_MIN;
  /** Above it the limit grows slowly. */
  #slowAboveBytes = Infinity;
  /** Packets up to this one were sent before the last loss was noticed: that they are lost, too, is no news. */
  #recoveryNumber = -1;
  /** Limits that one datagram may take at once: more with each acknowledgement, one again after a loss. */
  #burstShares = 1;
  /** The last that took more than the limit, until it is acknowledged or given up; -1 none. */
  #burstNumber = -1;
  #burstBytes = 0;
  #burstMs = 0;
  #restUntilMs = -Infinity;
  /** Something was refused, and nothing taken since. */
  #isAwaited = false;

  readonly #datagramBytesMax: number;

  /** @param creditBytes What the receiver grants at first. */
  constructor(creditBytes: number, datagramBytesMax: number, nowMs: number) {
    this.#datagramBytesMax = datagramBytesMax;
    this.#creditBytes = Math.max(creditBytes, CREDIT_BYTES_MIN);
    this.limitBytes = this.#creditBytes;
    this.#grantedMs = nowMs;
  }

  get inFlightBytes(): number {
    return this.#sentBytes - this.#goneBytes;
  }

  /**
   * When there is room again for what was refused, if no acknowledgement makes it before: the end of the rest, or when what
   * is in flight is given up. Infinity when nothing was refused, or that time has come.
   */
  roomAtMs(nowMs: number): number {
    if (!this.#isAwaited) return Infinity;
    if (this.#restUntilMs > nowMs) return this.#restUntilMs;
    const givenUpMs = this.#progressMs + this.#timeoutMs;
    return givenUpMs > nowMs ? givenUpMs : Infinity;
  }

  /**
   * How large the next datagram may be; one of neededBytes may go when nothing is in flight and no rest is due. Less than neededBytes:
   * not now.
   * @param isBulk Leaves BULK_RESERVE_PART of the limit free.
   */
  roomBytes(neededBytes: number, nowMs: number, isBulk = false): number {
    if (nowMs - this.#grantedMs > CREDIT_AGE_MS) {
      // The receiver has counted on others meanwhile.
      this.#grantedMs = nowMs;
      this.limitBytes = Math.min(this.limitBytes, this.#creditBytes * CREDIT_OLD_PART);
    }
    this.#isAwaited = nowMs < this.#restUntilMs;
    if (this.#isAwaited) return 0;
    const roomBytes = this.#roomBytes(neededBytes, isBulk);
    this.#isAwaited = roomBytes < neededBytes;
    if (!this.#isAwaited || nowMs - this.#progressMs < this.#timeoutMs) return roomBytes;
    // No answer for so long: take all of it as lost, and try again with less.
    this.#goneBytes = this.#sentBytes;
    this.#goneNumber = this.#sentNumber;
    this.#burstNumber = -1;
    this.#progressMs = nowMs;
    this.#timeoutMs = Math.min(this.#timeoutMs * 2, FLIGHT_TIMEOUT_MS_MAX);
    this.#halve();
    this.#isAwaited = false;
    return this.#roomBytes(neededBytes, isBulk);
  }

  /** Something that was sent over a round trip ago has not arrived, while later things have. */
  onLost(): void {
    if (this.#goneNumber <= this.#recoveryNumber) return;
    this.#recoveryNumber = this.#sentNumber;
    this.#halve();
    this.#slowAboveBytes = this.limitBytes;
  }

  #halve(): void {
    this.limitBytes = Math.max(CREDIT_BYTES_MIN, this.limitBytes / 2);
    this.#burstShares = 1;
  }

  onSent(packetNumber: number, byteCount: number, nowMs: number): void {
    const takenBytes = byteCount + DATAGRAM_RECORD_BYTES;
    // What has just been sent can't be overdue, though an answer to something before it is (RFC 9002, 6.2.1).
    this.#progressMs = nowMs;
    if (takenBytes > this.limitBytes) {
      this.#burstNumber = packetNumber;
      this.#burstBytes = takenBytes;
      this.#burstMs = nowMs;
    }
    this.#sentBytes += takenBytes;
    this.#sentNumber = packetNumber;
    this.#sentBytesAt[packetNumber & (FLIGHT_PACKETS_MAX - 1)] = this.#sentBytes;
  }

  /** What the receiver grants from now on. */
  onGranted(creditBytes: number, nowMs: number): void {
    this.#grantedMs = nowMs;
    this.#creditBytes = Math.max(creditBytes, CREDIT_BYTES_MIN);
    this.limitBytes = Math.min(this.limitBytes, this.#creditBytes);
  }

  /** @param largestLow Low 32 bits of the largest packet number that the peer received; 0xffffffff for none. */
  onAcknowledged(largestLow: number, nowMs: number): void {
    const behind = (this.#sentNumber - largestLow) >>> 0;
    const packetNumber = this.#sentNumber - behind;
    if (packetNumber <= this.#goneNumber || behind >= FLIGHT_PACKETS_MAX) return;
    this.#goneNumber = packetNumber;
    const goneBytes = this.#sentBytesAt[packetNumber & (FLIGHT_PACKETS_MAX - 1)]!;
    const arrivedBytes = goneBytes - this.#goneBytes;
    const isSlow = this.limitBytes >= this.#slowAboveBytes;
    const growth = isSlow ? Math.min(1, this.#datagramBytesMax / this.limitBytes) : 1;
    this.limitBytes = Math.min(this.#creditBytes, this.limitBytes + arrivedBytes * growth);
    this.#goneBytes = goneBytes;
    this.#progressMs = nowMs;
    this.#timeoutMs = FLIGHT_TIMEOUT_MS_MIN;
    this.#burstShares = Math.min(BURST_SHARES_MAX, this.#burstShares + 1);
    if (this.#burstNumber !== -1 && packetNumber >= this.#burstNumber) this.#rest(nowMs);
  }

  /** As long as it takes for what was in flight, rest included, to have been the limit on average. */
  #rest(nowMs: number): void {
    const flightMs = nowMs - this.#burstMs;
    const restMs = flightMs * Math.max(0, this.#burstBytes / this.limitBytes - 1);
    this.#restUntilMs = nowMs + Math.min(restMs, BURST_REST_MS_MAX);
    this.#burstNumber = -1;
  }

  #roomBytes(neededBytes: number, isBulk: boolean): number {
    if (this.#sentNumber - this.#goneNumber >= FLIGHT_PACKETS_MAX - 1) return 0;
    const limitBytes = isBulk ? this.limitBytes * (1 - BULK_RESERVE_PART) : this.limitBytes;
    const roomBytes = limitBytes - this.inFlightBytes - DATAGRAM_RECORD_BYTES;
    if (this.inFlightBytes > 0) return roomBytes;
    const burstBytes = this.limitBytes * this.#burstShares - DATAGRAM_RECORD_BYTES;
    return Math.max(roomBytes, neededBytes, Math.min(burstBytes, this.#datagramBytesMax));
  }
}
