import { FLIGHT_PACKETS_MAX, FLIGHT_TIMEOUT_MS_MAX, FLIGHT_TIMEOUT_MS_MIN } from './limits.ts';

/**
 * Bytes in flight of one session: sent, and neither received nor given up. Every datagram acknowledges the largest
 * packet number received (in its preamble); what was sent up to there has arrived or is lost, and is in flight no more.
 * Keeps a sender within what the receiver's buffer holds; halves on loss of contact, grows back as answers come.
 */
export class Flight {
  /** Bytes that may be in flight now. */
  limitBytes: number;
  readonly #limitBytesMax: number;
  readonly #limitBytesMin: number;
  /** Bytes sent up to and including a packet, by packet number. */
  readonly #sentBytesAt = new Float64Array(FLIGHT_PACKETS_MAX);
  #sentBytes = 0;
  #sentNumber = -1;
  #goneBytes = 0;
  #goneNumber = -1;
  #progressMs = 0;
  #timeoutMs = FLIGHT_TIMEOUT_MS_MIN;

  /**
   * @param creditBytes What the receiver grants.
   * @param datagramBytes Largest datagram: one is always allowed.
   */
  constructor(creditBytes: number, datagramBytes: number) {
    this.#limitBytesMin = datagramBytes;
    this.#limitBytesMax = Math.max(creditBytes, datagramBytes);
    this.limitBytes = this.#limitBytesMax;
  }

  get inFlightBytes(): number {
    return this.#sentBytes - this.#goneBytes;
  }

  /** Whether another datagram of at most byteCount bytes may be sent. */
  allows(byteCount: number, nowMs: number): boolean {
    if (this.#fits(byteCount)) return true;
    if (nowMs - this.#progressMs < this.#timeoutMs) return false;
    // No answer for so long: take all of it as lost, and try again with less.
    this.#goneBytes = this.#sentBytes;
    this.#goneNumber = this.#sentNumber;
    this.#progressMs = nowMs;
    this.#timeoutMs = Math.min(this.#timeoutMs * 2, FLIGHT_TIMEOUT_MS_MAX);
    this.limitBytes = Math.max(this.#limitBytesMin, this.limitBytes / 2);
    return this.#fits(byteCount);
  }

  onSent(packetNumber: number, byteCount: number, nowMs: number): void {
    if (this.inFlightBytes === 0) this.#progressMs = nowMs;
    this.#sentBytes += byteCount;
    this.#sentNumber = packetNumber;
    this.#sentBytesAt[packetNumber & (FLIGHT_PACKETS_MAX - 1)] = this.#sentBytes;
  }

  /** @param largestLow Low 32 bits of the largest packet number that the peer received; 0xffffffff for none. */
  onAcknowledged(largestLow: number, nowMs: number): void {
    const behind = (this.#sentNumber - largestLow) >>> 0;
    const packetNumber = this.#sentNumber - behind;
    if (packetNumber <= this.#goneNumber || behind >= FLIGHT_PACKETS_MAX) return;
    this.#goneNumber = packetNumber;
    const goneBytes = this.#sentBytesAt[packetNumber & (FLIGHT_PACKETS_MAX - 1)]!;
    this.limitBytes = Math.min(this.#limitBytesMax, this.limitBytes + (goneBytes - this.#goneBytes));
    this.#goneBytes = goneBytes;
    this.#progressMs = nowMs;
    this.#timeoutMs = FLIGHT_TIMEOUT_MS_MIN;
  }

  #fits(byteCount: number): boolean {
    return (
      this.inFlightBytes + byteCount <= this.limitBytes && this.#sentNumber - this.#goneNumber < FLIGHT_PACKETS_MAX - 1
    );
  }
}
