import { readU53, writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import { TRUSTED_FULL } from '../store/write-result.ts';
import {
  FLAG_FOLLOWED,
  FLAG_GONE,
  FLAG_HOST_FULL,
  FLAG_PARTS,
  FLAG_TOMBSTONE,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_STAMP_REPLY,
  READ_PART_REPLY_BYTES,
  READ_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  STAMP_REPLY_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
  WORD_READ_GRANT,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_READ_PART_RMW,
  WORD_READ_PART_WRITER,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_RMW,
  WORD_REPLY_TAG,
  WORD_REPLY_WRITER,
  WORD_STAMP_COUNTER,
  flagsOf,
  grantedCountOf,
  grantedPartBytesOf,
  slotOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';

/**
 * A replica's answers to READ, READ_PART and STAMP: what it has of a key, and whether it has room for more. Nothing of the
 * store is changed.
 */
export class ReadAnswers {
  readonly #store: Store;
  readonly #drops: DropCounters;
  /** Bytes of the trusted budget that only writes already let through may use. */
  readonly #trustedMarginBytes: number;

  constructor(store: Store, drops: DropCounters, trustedMarginBytes: number) {
    this.#store = store;
    this.#drops = drops;
    this.#trustedMarginBytes = trustedMarginBytes;
  }

  onRead(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const entry = store.find(words, word + WORD_ASK_KEY, words[word + WORD_KEY_BYTES]!, hash);
    const absent = entry === NO_ENTRY || store.isTombstone(entry);
    const wantsValue = !absent && (flagsOf(words, word) & FLAG_VALUE) !== 0;
    const withValue = wantsValue && messenger.fits(session, READ_REPLY_VALUE_BYTES, store.envelopeBytes(entry));
    // A larger one comes by parts: length and tag come first.
    const byParts = wantsValue && !withValue;
    const grant = words[word + WORD_READ_GRANT]!;
    const followingCount = byParts ? this.#followingCount(session, messenger, entry, grant) : 0;
    const envelopeBytes = withValue ? store.envelopeBytes(entry) : 0;
    if (!messenger.append(session, wantsValue ? READ_REPLY_VALUE_BYTES : READ_REPLY_BYTES, envelopeBytes)) return;
    const { out } = messenger;
    const target = out.control.words;
    let flags = (withValue ? FLAG_VALUE : 0) | (absent ? FLAG_TOMBSTONE : 0) | (byParts ? FLAG_PARTS : 0);
    if (followingCount > 0) flags |= FLAG_FOLLOWED;
    writeHead(target, out.word, MESSAGE_READ_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_REPLY_ENVELOPE_BYTES] = byParts ? store.envelopeBytes(entry) : envelopeBytes;
    target[out.word + WORD_REPLY_RMW] = entry === NO_ENTRY ? 0 : store.rmw(entry);
    writeU53(target, out.word + WORD_REPLY_COUNTER, entry === NO_ENTRY ? 0 : store.counter(entry));
    target[out.word + WORD_REPLY_WRITER] = entry === NO_ENTRY ? 0 : store.writerLow(entry);
    target[out.word + WORD_REPLY_WRITER + 1] = entry === NO_ENTRY ? 0 : store.writerHigh(entry);
    if (!wantsValue) return;
    store.copyTag(entry, target, out.word + WORD_REPLY_TAG);
    if (withValue) store.copyEnvelope(entry, out.packet, out.valueWord);
    const partBytes = grantedPartBytesOf(grant);
    for (let part = 0; part < followingCount; part++) {
      const byteOffset = part * partBytes;
      const byteCount = Math.min(partBytes, store.envelopeBytes(entry) - byteOffset);
      if (!this.#sendPart(session, messenger, words, word, entry, byteOffset, byteCount)) return;
    }
  }

  /** Parts that follow the answer to a READ: all that it grants, or none. Whoever is told that they follow asks for no other. */
  #followingCount(session: Session<Peer>, messenger: Messenger, entry: number, grant: number): number {
    const partBytes = grantedPartBytesOf(grant);
    if (grant === 0 || !messenger.fits(session, READ_PART_REPLY_BYTES, partBytes)) return 0;
    const partCount = Math.min(grantedCountOf(grant), Math.ceil(this.#store.envelopeBytes(entry) / partBytes));
    return messenger.hasSlots(session, 1 + partCount) ? partCount : 0;
  }

  onReadPart(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const entry = store.find(words, word + WORD_READ_PART_KEY, words[word + WORD_KEY_BYTES]!, hash);
    const byteOffset = words[word + WORD_READ_PART_OFFSET]!;
    const byteCount = words[word + WORD_READ_PART_BYTES]!;
    if (byteOffset % 8 !== 0 || byteCount === 0) return this.#drops.count('malformed');
    const isThere =
      entry !== NO_ENTRY &&
      !store.isTombstone(entry) &&
      store.compareStamp(
        entry,
        readU53(words, word + WORD_READ_PART_COUNTER),
        words[word + WORD_READ_PART_WRITER + 1]!,
        words[word + WORD_READ_PART_WRITER]!,
        words[word + WORD_READ_PART_RMW]!,
      ) === 0 &&
      byteOffset + byteCount <= store.envelopeBytes(entry) &&
      messenger.fits(session, READ_PART_REPLY_BYTES, byteCount);
    this.#sendPart(session, messenger, words, word, isThere ? entry : NO_ENTRY, byteOffset, isThere ? byteCount : 0);
  }

  /**
   * In answer to the message at `word`.
   * @param entry NO_ENTRY: the value is gone.
   */
  #sendPart(
    session: Session<Peer>,
    messenger: Messenger,
    words: Int32Array,
    word: number,
    entry: number,
    byteOffset: number,
    byteCount: number,
  ): boolean {
    if (!messenger.append(session, READ_PART_REPLY_BYTES, byteCount)) return false;
    const { out } = messenger;
    const target = out.control.words;
    const flags = entry === NO_ENTRY ? FLAG_GONE : 0;
    writeHead(target, out.word, MESSAGE_READ_PART_REPLY, flags, slotOf(words, word), words[word + 1]!);
    target[out.word + WORD_PART_REPLY_OFFSET] = byteOffset;
    target[out.word + WORD_PART_REPLY_BYTES] = byteCount;
    if (entry !== NO_ENTRY) this.#store.copyEnvelopePart(entry, byteOffset, byteCount, out.packet, out.valueWord);
    return true;
  }

  onStamp(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number, hash: number): void {
    const store = this.#store;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const entry = store.find(words, word + WORD_ASK_KEY, keyBytes, hash);
    if (!messenger.append(session, STAMP_REPLY_BYTES, 0)) return;
    const { out } = messenger;
    const flags = this.#roomFlags(entry, keyBytes, words[word + WORD_ENVELOPE_BYTES]!);
    writeHead(out.control.words, out.word, MESSAGE_STAMP_REPLY, flags, slotOf(words, word), words[word + 1]!);
    writeU53(out.control.words, out.word + WORD_STAMP_COUNTER, entry === NO_ENTRY ? 0 : store.counter(entry));
  }

  /** A put that will not fit is refused before anything of it is written anywhere. */
  #roomFlags(entry: number, keyBytes: number, envelopeBytes: number): number {
    const margin = this.#trustedMarginBytes;
    const store = this.#store;
    const hasRoom =
      entry === NO_ENTRY
        ? store.hasRoomForKey(keyBytes, envelopeBytes, margin)
        : store.hasRoomForEnvelope(entry, envelopeBytes, margin);
    if (hasRoom) return 0;
    return store.lastRefusal === TRUSTED_FULL ? FLAG_TRUSTED_FULL : FLAG_HOST_FULL;
  }
}
