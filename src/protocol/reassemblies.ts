import { assert } from '../../net/assert.ts';
import { alignUp, copyWords, readU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { HOST_FULL } from '../store/write-result.ts';
import {
  FLAG_BUSY,
  FLAG_HOST_FULL,
  FLAG_REPAIR,
  FLAG_TRUSTED_FULL,
  KEY_BYTES_MAX,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  PARTS_MAX,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_PROGRESS_BYTES,
  WRITE_REPLY_BYTES,
  flagsOf,
  partBytesOf,
  partCountOf,
  partIndexOf,
  partLengthBytes,
  slotOf,
  typeOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import { MESSAGE_STAGE_PART, WORD_STAGE_ID, WORD_STAGE_KEY } from './rmw-part-messages.ts';

/**
 * Values that arrive by parts. Each part goes straight to its place in a block of host memory that belongs to no entry
 * yet; only when all parts and the key are there does the entry, in trusted memory, take the block over. So no reader ever
 * meets a value in part. What has arrived is told once a turn, by a bitmap.
 *
 * The value of a proposal is staged: when all of it is there, it waits for the ACCEPT or COMMIT that names it, of the same
 * peer (rmw-acceptor.ts), which takes the block over.
 *
 * Bounded: in number, in number for one peer, in time. Who comes when all places are taken is told to come again.
 */
export const REASSEMBLIES_MAX = 64;
/** One peer must not take all places, and 16 values at once fill any credit. */
export const REASSEMBLIES_PER_PEER_MAX = 16;
/** Nothing of it has come for so long: far more than a sender's longest time-out (net/rtt.ts). */
const IDLE_MS_MAX = 5_000;
/** So often places are looked at: not each turn. */
const TICK_INTERVAL_MS = 100;
/** When all places are taken, one that has been idle for so long makes room: a few time-outs of a sender that works. */
const IDLE_MS_MIN = 500;
/**
 * And one that is older does though it goes on, when it is slow: else some that send a part of each now and then would have
 * all places for good. Who only shares a busy network with 63 others keeps its place: what has come of it would be lost,
 * and nobody would get to an end.
 */
const AGE_MS_MIN = 2_000;
/** Bytes a millisecond: the longest value would take a minute, many times a usual deadline. */
const SLOW_BYTES_A_MS = 16;
/** Who has none may take one from a peer with more, after the same time: half of what a sender has at once (write-parts.ts). */
const MANY_PLACES = 4;

const BITMAP_WORDS = PARTS_MAX / 32;
const KEY_WORDS = KEY_BYTES_MAX / 4;
/** Key, bitmap, id, and some twenty fields, in trusted memory. */
export const REASSEMBLY_BYTES = KEY_BYTES_MAX + PARTS_MAX / 8 + 384;

/** A value that arrives by parts. Pooled: fields are set anew for each. */
export class Reassembly {
  /** Name of the peer, undefined when the place is free. */
  peerKey: string | undefined;
  /** Where the answer goes: session and operation of the last part. */
  session: Session<Peer> | undefined;
  slot = 0;
  generation = 0;
  isRepair = false;
  isStaged = false;
  /** Of the proposal that it is the value of; else zero. */
  readonly idWords = new Int32Array(4);
  counter = 0;
  writerHigh = 0;
  writerLow = 0;
  rmw = 0;
  readonly tagWords = new Int32Array(4);
  envelopeBytes = 0;
  partBytes = 0;
  partCount = 0;
  arrivedCount = 0;
  /** Of the envelope. */
  arrivedBytes = 0;
  readonly bitmap = new Int32Array(BITMAP_WORDS);
  /** 0 until part 0 has come. */
  keyBytes = 0;
  readonly keyWords = new Int32Array(KEY_WORDS);
  /** The block, or NO_REF once it has been taken over or given back: then `answer` stands. */
  ref: number = NO_REF;
  answer = 0;
  beganMs = 0;
  /** When something of it came that had not come before. */
  lastMs = 0;
  /** Something has come since the last answer. */
  isTouched = false;

  get isDone(): boolean {
    return this.ref === NO_REF;
  }

  /** All of a proposal's value is there, and nobody has taken it over yet. */
  get isReady(): boolean {
    return this.isStaged && this.isWhole && !this.isDone;
  }

  get isWhole(): boolean {
    return this.arrivedCount === this.partCount;
  }
}

export interface ReassemblyOwner {
  /** Part 0 has come: flags to answer with when the rest is not needed (the stamp is known), or undefined. */
  answerEarly(reassembly: Reassembly): number | undefined;
  /** All has come. Takes the block over, or gives it back; returns the flags to answer with, undefined: none. */
  onWhole(reassembly: Reassembly): number | undefined;
}

export class Reassemblies {
  readonly #store: Store;
  readonly #messenger: Messenger;
  readonly #owner: ReassemblyOwner;
  readonly #places: readonly Reassembly[] = Array.from({ length: REASSEMBLIES_MAX }, () => new Reassembly());
  readonly #touched: Reassembly[] = [];
  #openCount = 0;
  #tickedMs = -Infinity;

  constructor(store: Store, messenger: Messenger, owner: ReassemblyOwner) {
    this.#store = store;
    this.#messenger = messenger;
    this.#owner = owner;
  }

  /** A WRITE_PART or STAGE_PART whose sender may write it. */
  onPart(session: Session<Peer>, words: Int32Array, word: number, valueWord: number, nowMs: number): void {
    const found = this.#find(session.peer, words, word);
    const reassembly = found ?? this.#begin(session, words, word, nowMs);
    if (reassembly === undefined) return;
    reassembly.session = session;
    reassembly.slot = slotOf(words, word);
    reassembly.generation = words[word + 1]!;
    if (!reassembly.isTouched) {
      reassembly.isTouched = true;
      this.#touched.push(reassembly);
    }
    if (!reassembly.isDone) this.#take(reassembly, words, word, valueWord, nowMs);
  }

  #find(peer: Peer, words: Int32Array, word: number): Reassembly | undefined {
    const isStaged = isStage(words, word);
    for (const one of this.#places) {
      if (
        isNamed(one, peer.key, words, word + WORD_WRITE_COUNTER, word + WORD_WRITE_TAG) &&
        one.envelopeBytes === words[word + WORD_ENVELOPE_BYTES] &&
        one.partBytes === partBytesOf(words, word) &&
        one.isRepair === isRepair(words, word) &&
        one.isStaged === isStaged &&
        (!isStaged || hasId(one, words, word + WORD_STAGE_ID))
      ) {
        return one;
      }
    }
    return undefined;
  }

  /**
   * The whole value that a peer has staged for an ACCEPT or COMMIT, which has these words; undefined when it is not, or not all,
   * there. What was taken over before, and is asked for again, is to be sent again.
   * @param stampWord Counter, writer and rmw, five words.
   */
  findStaged(
    peer: Peer,
    words: Int32Array,
    idWord: number,
    stampWord: number,
    tagWord: number,
    envelopeBytes: number,
  ): Reassembly | undefined {
    for (const one of this.#places) {
      if (!one.isStaged || one.envelopeBytes !== envelopeBytes) continue;
      if (!isNamed(one, peer.key, words, stampWord, tagWord) || !hasId(one, words, idWord)) continue;
      if (one.isReady) return one;
      if (one.isDone) this.#release(one);
    }
    return undefined;
  }

  /** The block is the caller's now, still reserved. */
  takeStaged(reassembly: Reassembly): number {
    assert(reassembly.isReady, 'only what is whole is taken over');
    const { ref } = reassembly;
    reassembly.ref = NO_REF;
    reassembly.answer = 0;
    this.#openCount--;
    return ref;
  }

  #begin(session: Session<Peer>, words: Int32Array, word: number, nowMs: number): Reassembly | undefined {
    const place = this.#freePlace(session.peer.key, nowMs);
    if (place === undefined) {
      this.#answer(session, words, word, MESSAGE_WRITE_PROGRESS, FLAG_BUSY);
      return undefined;
    }
    const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
    const ref = this.#store.reserve(envelopeBytes, 0);
    if (ref === NO_REF) {
      // What the others hold comes free soon, one way or the other.
      if (this.#openCount > 0) this.#answer(session, words, word, MESSAGE_WRITE_PROGRESS, FLAG_BUSY);
      else {
        const flags = this.#store.lastRefusal === HOST_FULL ? FLAG_HOST_FULL : FLAG_TRUSTED_FULL;
        this.#answer(session, words, word, MESSAGE_WRITE_REPLY, flags);
      }
      return undefined;
    }
    this.#openCount++;
    place.peerKey = session.peer.key;
    place.isRepair = isRepair(words, word);
    place.isStaged = isStage(words, word);
    if (place.isStaged) copyWords(place.idWords, 0, words, word + WORD_STAGE_ID, place.idWords.length);
    else place.idWords.fill(0);
    place.counter = readU53(words, word + WORD_WRITE_COUNTER);
    place.writerLow = words[word + WORD_WRITE_WRITER]!;
    place.writerHigh = words[word + WORD_WRITE_WRITER + 1]!;
    place.rmw = words[word + WORD_WRITE_RMW]!;
    copyWords(place.tagWords, 0, words, word + WORD_WRITE_TAG, place.tagWords.length);
    place.envelopeBytes = envelopeBytes;
    place.partBytes = partBytesOf(words, word);
    place.partCount = partCountOf(envelopeBytes, place.partBytes);
    place.arrivedCount = 0;
    place.arrivedBytes = 0;
    place.beganMs = nowMs;
    place.bitmap.fill(0);
    place.answer = 0;
    place.keyBytes = 0;
    place.ref = ref;
    return place;
  }

  /** A place for a peer's further value, or undefined when it, or all together, have as many as they may. */
  #freePlace(peerKey: string, nowMs: number): Reassembly | undefined {
    const own = this.#places.filter((place) => place.peerKey === peerKey && !place.isDone);
    // What it has given up itself makes room for what it begins; the others it would only take from itself.
    const hasAll = own.length >= REASSEMBLIES_PER_PEER_MAX;
    let best: Reassembly | undefined;
    for (const place of hasAll ? own : this.#places) {
      if (best === undefined || rank(place) < rank(best)) best = place;
    }
    assert(best !== undefined, 'there are places');
    const isFree = best.peerKey === undefined || best.isDone || nowMs - best.lastMs >= IDLE_MS_MIN;
    const place = isFree ? best : hasAll ? undefined : this.#slowest(own.length === 0, nowMs);
    if (place !== undefined) this.#release(place);
    return place;
  }

  /** All go on. Of those that make room all the same, the one that gets on most slowly. */
  #slowest(hasNone: boolean, nowMs: number): Reassembly | undefined {
    let slowest: Reassembly | undefined;
    let slowestRate = Infinity;
    for (const place of this.#places) {
      const ageMs = nowMs - place.beganMs;
      const rate = place.arrivedBytes / ageMs;
      if (ageMs < AGE_MS_MIN || rate >= slowestRate) continue;
      if (rate >= SLOW_BYTES_A_MS && !(hasNone && this.#countOf(place.peerKey) > MANY_PLACES)) continue;
      slowest = place;
      slowestRate = rate;
    }
    return slowest;
  }

  #countOf(peerKey: string | undefined): number {
    let count = 0;
    for (const place of this.#places) if (place.peerKey === peerKey && !place.isDone) count++;
    return count;
  }

  #take(reassembly: Reassembly, words: Int32Array, word: number, valueWord: number, nowMs: number): void {
    const partIndex = partIndexOf(words, word);
    const bit = 1 << (partIndex & 31);
    if ((reassembly.bitmap[partIndex >> 5]! & bit) !== 0) return;
    reassembly.lastMs = nowMs;
    if (partIndex === 0) {
      const keyWord = word + (reassembly.isStaged ? WORD_STAGE_KEY : WORD_WRITE_KEY);
      reassembly.keyBytes = words[word + WORD_KEY_BYTES]!;
      copyWords(reassembly.keyWords, 0, words, keyWord, alignUp(reassembly.keyBytes) >> 2);
      const answer = reassembly.isStaged ? undefined : this.#owner.answerEarly(reassembly);
      if (answer !== undefined) return this.#finish(reassembly, answer);
    } else {
      const { ref, partBytes, envelopeBytes } = reassembly;
      const byteOffset = (partIndex - 1) * partBytes;
      const byteCount = partLengthBytes(partIndex, partBytes, envelopeBytes);
      this.#store.fillReserved(ref, byteOffset, words, valueWord, byteCount);
      reassembly.arrivedBytes += byteCount;
    }
    reassembly.bitmap[partIndex >> 5]! |= bit;
    reassembly.arrivedCount++;
    if (!reassembly.isWhole || reassembly.isStaged) return;
    const { ref } = reassembly;
    const answer = this.#owner.onWhole(reassembly);
    if (answer === undefined) return this.#release(reassembly);
    if (reassembly.ref === ref) return this.#finish(reassembly, answer);
    // The owner has it now.
    this.#openCount--;
    reassembly.answer = answer;
  }

  /** The answer stands; what was gathered is not needed. The place remembers it, for parts that are repeated. */
  #finish(reassembly: Reassembly, answer: number): void {
    this.#giveBack(reassembly);
    reassembly.answer = answer;
  }

  #release(reassembly: Reassembly): void {
    this.#giveBack(reassembly);
    reassembly.peerKey = undefined;
    reassembly.session = undefined;
  }

  #giveBack(reassembly: Reassembly): void {
    if (reassembly.ref === NO_REF) return;
    this.#store.releaseReserved(reassembly.ref);
    reassembly.ref = NO_REF;
    this.#openCount--;
  }

  /** At the end of the turn's datagrams: says what has arrived. */
  flush(): void {
    if (this.#touched.length === 0) return;
    for (const reassembly of this.#touched) {
      reassembly.isTouched = false;
      if (reassembly.session === undefined) continue;
      if (!reassembly.isDone && !reassembly.isReady) {
        this.#tellProgress(reassembly, reassembly.session);
        continue;
      }
      this.#tellAnswer(reassembly, reassembly.session);
      // The same copy may be needed again, and there may be room for it by then.
      if (reassembly.isRepair || (reassembly.answer & (FLAG_TRUSTED_FULL | FLAG_HOST_FULL)) !== 0)
        this.#release(reassembly);
    }
    this.#touched.length = 0;
  }

  #tellAnswer({ slot, generation, answer }: Reassembly, session: Session<Peer>): void {
    if (!this.#messenger.append(session, WRITE_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    writeHead(out.control.words, out.word, MESSAGE_WRITE_REPLY, answer, slot, generation);
  }

  #tellProgress({ slot, generation, partCount, bitmap }: Reassembly, session: Session<Peer>): void {
    const bitmapBytes = alignUp((partCount + 7) >> 3);
    if (!this.#messenger.append(session, WRITE_PROGRESS_BYTES + bitmapBytes, 0)) return;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeHead(words, word, MESSAGE_WRITE_PROGRESS, 0, slot, generation);
    words[word + WORD_PROGRESS_BYTES] = bitmapBytes;
    words[word + WORD_PROGRESS_BYTES + 1] = 0;
    copyWords(words, word + WORD_PROGRESS_BITMAP, bitmap, 0, bitmapBytes >> 2);
  }

  /** WRITE_REPLY, or WRITE_PROGRESS without a bitmap. */
  #answer(session: Session<Peer>, words: Int32Array, word: number, type: number, flags: number): void {
    const byteCount = type === MESSAGE_WRITE_REPLY ? WRITE_REPLY_BYTES : WRITE_PROGRESS_BYTES;
    if (!this.#messenger.append(session, byteCount, 0)) return;
    const { out } = this.#messenger;
    writeHead(out.control.words, out.word, type, flags, slotOf(words, word), words[word + 1]!);
    if (type === MESSAGE_WRITE_PROGRESS) out.control.words.fill(0, out.word + 2, out.word + WRITE_PROGRESS_BYTES / 4);
  }

  /** Gives up what nobody sends any more. */
  tick(nowMs: number): void {
    if (nowMs - this.#tickedMs < TICK_INTERVAL_MS) return;
    this.#tickedMs = nowMs;
    for (const place of this.#places) {
      if (place.peerKey !== undefined && nowMs - place.lastMs > IDLE_MS_MAX) this.#release(place);
    }
  }

  /** Values under way. */
  get openCount(): number {
    return this.#openCount;
  }

  invariants(): void {
    let openCount = 0;
    for (const place of this.#places) {
      if (place.isDone) continue;
      openCount++;
      assert(place.peerKey !== undefined, 'a block belongs to a peer');
      assert(!place.isWhole || place.isStaged, 'what is whole is taken over at once, but for a proposal');
    }
    assert(openCount === this.#openCount, 'values under way are counted');
  }
}

/** Of this peer, stamp and tag. */
function isNamed(one: Reassembly, peerKey: string, words: Int32Array, stampWord: number, tagWord: number): boolean {
  return (
    one.counter === readU53(words, stampWord) &&
    one.writerLow === words[stampWord + 2] &&
    one.writerHigh === words[stampWord + 3] &&
    one.rmw === words[stampWord + 4] &&
    one.tagWords.every((word, i) => word === words[tagWord + i]) &&
    one.peerKey === peerKey
  );
}

function hasId(one: Reassembly, words: Int32Array, idWord: number): boolean {
  return one.idWords.every((word, i) => word === words[idWord + i]);
}

function isStage(words: Int32Array, word: number): boolean {
  return typeOf(words, word) === MESSAGE_STAGE_PART;
}

function isRepair(words: Int32Array, word: number): boolean {
  return !isStage(words, word) && (flagsOf(words, word) & FLAG_REPAIR) !== 0;
}

/** Which place is taken first: a free one, then one that is done, then the one that has been idle longest. */
function rank(place: Reassembly): number {
  if (place.peerKey === undefined) return -2;
  return place.isDone ? -1 : place.lastMs;
}
