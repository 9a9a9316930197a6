import { alignUp } from './bytes.ts';
import type { Region } from './bytes.ts';
import type { DropCounters } from './drops.ts';
import { DATAGRAM_BYTES_MIN, SEND_SLOTS, SEND_SLOTS_OF_SESSIONS } from './limits.ts';
import type { DatagramSealing } from './sealing.ts';
import type { Session } from './session.ts';
import { SlotRing } from './slot-ring.ts';
import type { Transport } from './transport.ts';
import { HEADER_BYTES, PREAMBLE_BYTES, writeDataHeader } from './wire.ts';

/**
 * The sending half of an endpoint. The life of a datagram that leaves:
 *
 *     append()            messages gather in a ring slot: values in the packet, control messages in its staging area
 *     flush()             at the end of the turn (or when the slot is full): header written, handed to the sealing
 *     onDatagramSealed()  handed to the transport
 *     onSent()            slot free again
 */

/** Where an appended message is to be written. One object, reused: valid until the next append() or flush(). */
export interface Outgoing {
  control: Region;
  word: number;
  packet: Region;
  valueWord: number;
}

export interface OutboxOptions<P> {
  readonly transport: Transport;
  readonly sealing: DatagramSealing;
  readonly drops: DropCounters;
  readonly datagramBytes: number;
  readonly sharedBuffers: boolean;
  /** A job of a dead session is done. */
  onDeadSessionIdle(session: Session<P>): void;
}

export class Outbox<P> {
  /** Written into each datagram of messages. */
  epoch = 0;
  /** Granted to those that ask, in each answer. */
  creditBytes = 0;
  /** Time of the turn, handed in by the endpoint. */
  nowMs = 0;
  readonly out: Outgoing;
  readonly #options: OutboxOptions<P>;
  readonly #transport: Transport;
  readonly #sealing: DatagramSealing;
  readonly #drops: DropCounters;
  readonly #ring: SlotRing;
  readonly #slotSessions: (Session<P> | undefined)[] = [];
  readonly #slotBytes = new Int32Array(SEND_SLOTS);
  /** Sessions with a datagram under construction. */
  readonly #unflushed: Session<P>[] = [];

  constructor(options: OutboxOptions<P>) {
    this.#options = options;
    this.#transport = options.transport;
    this.#sealing = options.sealing;
    this.#drops = options.drops;
    this.#ring = new SlotRing(SEND_SLOTS, options.datagramBytes, options.sharedBuffers);
    this.out = { control: this.#ring.control(0), word: 0, packet: this.#ring.packet(0), valueWord: 0 };
  }

  get freeCount(): number {
    return this.#ring.freeCount;
  }

  get trustedBytes(): number {
    return this.#ring.trustedBytes;
  }

  /** Whether a message is small enough for a datagram to this peer at all. */
  fits(session: Session<P>, controlBytes: number, valueBytes: number): boolean {
    return this.#datagramBytesOf(controlBytes, alignUp(valueBytes)) <= session.datagramBytesMax;
  }

  /** Largest value part, a multiple of 8, that one datagram to this peer holds beside so many control bytes. */
  valueBytesMax(session: Session<P>, controlBytes: number): number {
    return (session.datagramBytesMax - this.#datagramBytesOf(controlBytes, 0)) & ~7;
  }

  /** Of a datagram with this one message. */
  #datagramBytesOf(controlBytes: number, valuePadded: number): number {
    return HEADER_BYTES + PREAMBLE_BYTES + controlBytes + valuePadded + this.#sealing.datagramTagBytes;
  }

  /**
   * Makes room for one message in the session's datagram and points `out` at it; the caller then writes every byte of
   * it. False when it can't be sent now (counted): requests are sent again by their owner, answers by the asker.
   * @param controlBytes Multiple of 8.
   * @param valueBytes Padded here to a multiple of 8.
   * @param isBulk Leaves a part of the credit to small messages, and may be refused for that (not counted).
   */
  append(session: Session<P>, controlBytes: number, valueBytes: number, isBulk = false): boolean {
    const valuePadded = alignUp(valueBytes);
    const tagBytes = this.#sealing.datagramTagBytes;
    if (
      session.slot !== -1 &&
      session.valueEnd + valuePadded + session.controlEnd + controlBytes + tagBytes > session.slotBytesMax
    ) {
      this.#seal(session);
    }
    if (session.slot === -1) {
      const neededBytes = this.#datagramBytesOf(controlBytes, valuePadded);
      if (neededBytes > session.datagramBytesMax || !this.#beginDatagram(session, neededBytes, isBulk)) return false;
    }
    const slot = session.slot;
    const out = this.out;
    out.control = this.#ring.control(slot);
    out.word = session.controlEnd >> 2;
    out.packet = this.#ring.packet(slot);
    out.valueWord = session.valueEnd >> 2;
    session.controlEnd += controlBytes;
    session.valueEnd += valuePadded;
    return true;
  }

  /** Whether a message of the smallest path's datagram could be appended now. */
  hasRoom(session: Session<P>): boolean {
    if (session.slot !== -1) return true;
    if (!session.canSend()) return false;
    const roomBytes = session.flight?.roomBytes(DATAGRAM_BYTES_MIN, this.nowMs) ?? Infinity;
    return roomBytes >= DATAGRAM_BYTES_MIN;
  }

  #beginDatagram(session: Session<P>, neededBytes: number, isBulk: boolean): boolean {
    if (!session.canSend()) return false;
    const roomBytes = session.flight?.roomBytes(neededBytes, this.nowMs, isBulk) ?? session.datagramBytesMax;
    if (roomBytes < neededBytes) {
      if (!isBulk) this.#drops.count('flight-full');
      return false;
    }
    const slot = this.#ring.take();
    if (slot === -1) {
      this.#drops.count('send-slots-full');
      return false;
    }
    session.slot = slot;
    session.slotBytesMax = Math.min(roomBytes, session.datagramBytesMax);
    session.valueEnd = HEADER_BYTES;
    session.controlEnd = PREAMBLE_BYTES;
    if (!session.listed) {
      session.listed = true;
      this.#unflushed.push(session);
    }
    return true;
  }

  /** Seals what has gathered: the end of a turn. */
  flush(): void {
    for (const session of this.#unflushed) {
      session.listed = false;
      if (session.slot !== -1) this.#seal(session);
    }
    this.#unflushed.length = 0;
  }

  #seal(session: Session<P>): void {
    const slot = session.slot;
    session.slot = -1;
    if (session.state === 'dead') return this.#ring.release(slot);
    const packet = this.#ring.packet(slot);
    const control = this.#ring.control(slot);
    const packetNumber = session.sendNumber++;
    const creditBytes = session.initiator ? 0 : this.creditBytes;
    writeDataHeader(packet.words, session.peerIndex, packetNumber, session.valueEnd - HEADER_BYTES, creditBytes);
    control.words[0] = this.epoch;
    control.words[1] = session.window.largest | 0;
    const byteCount = session.valueEnd + session.controlEnd + this.#sealing.datagramTagBytes;
    session.flight?.onSent(packetNumber, byteCount, this.nowMs);
    session.unacknowledgedSinceMs = Infinity;
    // Messages are answered or acknowledged, and so is a session's first packet; nothing else is.
    if (session.controlEnd > PREAMBLE_BYTES || packetNumber === 0) {
      session.unansweredSinceMs = Math.min(session.unansweredSinceMs, this.nowMs);
    }
    this.#slotSessions[slot] = session;
    this.#slotBytes[slot] = byteCount;
    session.jobsPending++;
    this.#sealing.submitSealDatagram(
      slot,
      session.sendKey,
      packetNumber,
      packet.bytes,
      session.valueEnd,
      control.bytes,
      session.controlEnd,
    );
  }

  onDatagramSealed(slot: number): void {
    const session = this.#slotSessions[slot]!;
    this.#slotSessions[slot] = undefined;
    session.jobsPending--;
    if (session.state === 'dead') {
      this.#ring.release(slot);
      return this.#options.onDeadSessionIdle(session);
    }
    this.#transport.send(slot, this.#ring.packet(slot).bytes, this.#slotBytes[slot]!, session.host, session.port);
  }

  onSent(slot: number, failed: boolean): void {
    if (failed) this.#drops.count('send-failed');
    this.#ring.release(slot);
  }

  /** Handshake kinds: rare, copied into a slot. */
  sendRaw(bytes: Uint8Array, host: string, port: number): void {
    if (this.#ring.freeCount <= SEND_SLOTS_OF_SESSIONS) return this.#drops.count('send-slots-full');
    const slot = this.#ring.take();
    this.#ring.packet(slot).bytes.set(bytes);
    this.#transport.send(slot, this.#ring.packet(slot).bytes, bytes.length, host, port);
  }

  invariants(): void {
    this.#ring.invariants();
  }
}
