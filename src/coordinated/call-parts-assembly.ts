import { assert } from '../../net/assert.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { CALL_BYTES, MESSAGE_CALL, callMessageBytes } from '../protocol/call-messages.ts';
import {
  CALL_PART_BYTES,
  WORD_CALL_PART,
  WORD_CALL_PART_VALUE_BYTES,
  callBodyBytes,
  callPartBytesOf,
  callPartIndexOf,
  callPartLengthBytes,
} from '../protocol/call-part-messages.ts';
import {
  MESSAGE_WRITE_PROGRESS,
  PARTS_MAX,
  WORD_KEY_BYTES,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  WRITE_PROGRESS_BYTES,
  flagsOf,
  slotOf,
  writeHead,
} from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Peer } from '../protocol/peer.ts';
import type { CallPartsMemory, NoBlock, PartsBlock } from './call-parts-memory.ts';
import { placeOf, slotAt } from './call-table.ts';
import type { CallStream } from './call-table.ts';

/**
 * CALLs that come by parts, put together in trusted memory. One that is whole is handed on as if it had come in one
 * datagram; nothing is done before. What has come is told once a turn, by a bitmap. A slot has one at most, of the
 * greatest generation that has come; parts of other lengths begin it anew.
 */
class Assembly {
  readonly block: PartsBlock;
  readonly generation: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly bodyBytes: number;
  readonly partBytes: number;
  readonly partCount: number;
  arrivedCount = 0;
  readonly bitmap = new Int32Array(PARTS_MAX / 32);
  /** Where progress is told. */
  session: Session<Peer>;
  /** Something has come since it was told. */
  isTouched = false;

  constructor(block: PartsBlock, session: Session<Peer>, words: Int32Array, word: number) {
    this.block = block;
    this.session = session;
    this.generation = words[word + 1]!;
    this.keyBytes = words[word + WORD_KEY_BYTES]!;
    this.valueBytes = words[word + WORD_CALL_PART_VALUE_BYTES]!;
    this.bodyBytes = callBodyBytes(words, word);
    this.partBytes = callPartBytesOf(words, word);
    this.partCount = Math.ceil(this.bodyBytes / this.partBytes);
  }

  isOf(words: Int32Array, word: number): boolean {
    return (
      this.generation === words[word + 1] &&
      this.keyBytes === words[word + WORD_KEY_BYTES] &&
      this.valueBytes === words[word + WORD_CALL_PART_VALUE_BYTES] &&
      this.partBytes === callPartBytesOf(words, word)
    );
  }
}

/** What has become of a part: more are to come; or it was the last; or there is no room; or it is of an earlier call. */
export type AssemblyVerdict = 'taken' | 'whole' | 'late' | 'malformed' | NoBlock;

export class CallAssemblies {
  readonly #memory: CallPartsMemory;
  readonly #messenger: Messenger;
  /** By placeOf(). */
  readonly #assemblies = new Map<number, Assembly>();
  /** By the same. */
  readonly #touched: number[] = [];
  /** The whole CALL, as if it had come in a datagram. One object, reused. */
  #whole: Incoming<Peer> | undefined;

  constructor(memory: CallPartsMemory, messenger: Messenger) {
    this.#memory = memory;
    this.#messenger = messenger;
  }

  /** A CALL_PART of a call that has not been run. When it makes it whole, onWhole is given the CALL. */
  onPart(
    stream: CallStream,
    incoming: Incoming<Peer>,
    word: number,
    nowMs: number,
    onWhole: (call: Incoming<Peer>) => void,
  ): AssemblyVerdict {
    const { session, region } = incoming;
    const { words } = region;
    const place = placeOf(stream, slotOf(words, word));
    let assembly = this.#assemblies.get(place);
    if (assembly !== undefined && ((words[word + 1]! - assembly.generation) | 0) < 0) return 'late';
    if (assembly !== undefined && !assembly.isOf(words, word)) {
      this.drop(stream, slotOf(words, word));
      assembly = undefined;
    }
    if (assembly === undefined) {
      const byteCount = CALL_BYTES + callBodyBytes(words, word);
      const block = this.#memory.take(stream.clientKey, byteCount, nowMs, () => this.#assemblies.delete(place));
      if (typeof block === 'string') return block;
      assembly = new Assembly(block, session, words, word);
      this.#assemblies.set(place, assembly);
    }
    assembly.session = session;
    if (!assembly.isTouched) {
      assembly.isTouched = true;
      this.#touched.push(place);
    }
    this.#take(assembly, words, word, nowMs);
    if (assembly.arrivedCount < assembly.partCount) return 'taken';
    return this.#handOn(stream, assembly, incoming, word, onWhole);
  }

  #take(assembly: Assembly, words: Int32Array, word: number, nowMs: number): void {
    const partIndex = callPartIndexOf(words, word);
    const bit = 1 << (partIndex & 31);
    if ((assembly.bitmap[partIndex >> 5]! & bit) !== 0) return;
    const { block, partBytes, bodyBytes } = assembly;
    block.lastMs = nowMs;
    assembly.bitmap[partIndex >> 5]! |= bit;
    assembly.arrivedCount++;
    const targetWord = this.#memory.wordOf(block) + ((CALL_BYTES + partIndex * partBytes) >> 2);
    const wordCount = callPartLengthBytes(partIndex, partBytes, bodyBytes) >> 2;
    copyWords(this.#memory.region(block).words, targetWord, words, word + CALL_PART_BYTES / 4, wordCount);
  }

  /** With the head of the part that came last: its deadline is the newest. */
  #handOn(
    stream: CallStream,
    assembly: Assembly,
    incoming: Incoming<Peer>,
    word: number,
    onWhole: (call: Incoming<Peer>) => void,
  ): AssemblyVerdict {
    const { words } = incoming.region;
    const { block, bodyBytes } = assembly;
    const byteCount = CALL_BYTES + bodyBytes;
    const region = this.#memory.region(block);
    const callWord = this.#memory.wordOf(block);
    copyWords(region.words, callWord, words, word, CALL_BYTES / 4);
    const slot = slotOf(words, word);
    writeHead(region.words, callWord, MESSAGE_CALL, flagsOf(words, word), slot, assembly.generation);
    region.words[callWord + WORD_CALL_PART] = 0;
    this.#tellProgress(assembly, slot);
    this.#assemblies.delete(placeOf(stream, slot));
    const isProper = callMessageBytes(region.words, callWord, byteCount) === byteCount;
    if (isProper) {
      const whole = (this.#whole ??= { ...incoming });
      whole.session = incoming.session;
      whole.epoch = incoming.epoch;
      whole.region = region;
      whole.word = callWord;
      whole.wordEnd = callWord + (byteCount >> 2);
      whole.valueWord = whole.valueWordEnd = whole.wordEnd;
      onWhole(whole);
    }
    this.#memory.free(block);
    return isProper ? 'whole' : 'malformed';
  }

  /** What a slot has of a call is not needed. */
  drop(stream: CallStream, slot: number): void {
    const place = placeOf(stream, slot);
    const assembly = this.#assemblies.get(place);
    if (assembly === undefined) return;
    this.#assemblies.delete(place);
    this.#memory.free(assembly.block);
  }

  /** At the end of the turn's datagrams: says what has come. */
  flush(): void {
    for (const place of this.#touched) {
      const assembly = this.#assemblies.get(place);
      if (assembly?.isTouched === true) this.#tellProgress(assembly, slotAt(place));
    }
    this.#touched.length = 0;
  }

  #tellProgress(assembly: Assembly, slot: number): void {
    assembly.isTouched = false;
    const { session, generation, partCount, bitmap } = assembly;
    const bitmapBytes = alignUp((partCount + 7) >> 3);
    if (!this.#messenger.append(session, WRITE_PROGRESS_BYTES + bitmapBytes, 0)) return;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeHead(words, word, MESSAGE_WRITE_PROGRESS, 0, slot, generation);
    words[word + WORD_PROGRESS_BYTES] = bitmapBytes;
    words[word + WORD_PROGRESS_BYTES + 1] = 0;
    copyWords(words, word + WORD_PROGRESS_BITMAP, bitmap, 0, bitmapBytes >> 2);
  }

  /** Calls under way. */
  get openCount(): number {
    return this.#assemblies.size;
  }

  invariants(): void {
    for (const { arrivedCount, partCount } of this.#assemblies.values()) {
      assert(arrivedCount < partCount, 'what is whole is handed on at once');
    }
  }
}
