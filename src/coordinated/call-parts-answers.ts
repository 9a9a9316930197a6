import { assert } from '../../net/assert.ts';
import { alignUp, copyPadded } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_REPLY_PART_BYTES,
  MESSAGE_CALL_REPLY_PART,
  WORD_PULL_ANSWER,
  WORD_PULL_BYTES,
  WORD_PULL_OFFSET,
  WORD_REPLY_PART_ANSWER,
  WORD_REPLY_PART_BYTES,
  WORD_REPLY_PART_OFFSET,
} from '../protocol/call-part-messages.ts';
import { FLAG_GONE, slotOf, writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { EndedStamp } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import type { CallPartsMemory, NoBlock, PartsBlock } from './call-parts-memory.ts';
import { partedReplyBytes, writePartedReplyBody, writeReplyHead, writeValue } from './call-reply.ts';
import { placeOf } from './call-table.ts';
import type { CallStream } from './call-table.ts';

/**
 * Values that gets have found and that are larger than a datagram: kept in trusted memory under a number that no other
 * answer of this process has, until the client has pulled them, goes on in their slot, or is silent for long. A slot has
 * one at most. Whoever asks for one that is gone runs the get again; so no two values are ever mixed.
 */
interface Answer {
  readonly block: PartsBlock;
  readonly number: number;
  readonly valueBytes: number;
  /** Of the reply: whether there is a version, and which. */
  readonly has: number;
  readonly ended: EndedStamp;
}

export class PartedAnswers {
  readonly #memory: CallPartsMemory;
  readonly #messenger: Messenger;
  /** By placeOf(). */
  readonly #answers = new Map<number, Answer>();
  /** Time of the turn: kept here, as a fraction that is passed on is an object on the heap. */
  nowMs = 0;
  #lastNumber = 0;

  constructor(memory: CallPartsMemory, messenger: Messenger) {
    this.#memory = memory;
    this.#messenger = messenger;
  }

  /**
   * Keeps what the get of the slot's present generation has found; the next call in the slot drops it. Undefined when it is
   * kept, or why it is not.
   */
  keep(
    stream: CallStream,
    slot: number,
    has: number,
    ended: EndedStamp,
    value: Uint8Array,
    valueBytes: number,
  ): NoBlock | undefined {
    this.drop(stream, slot);
    const place = placeOf(stream, slot);
    const block = this.#memory.take(stream.clientKey, alignUp(valueBytes), this.nowMs, () =>
      this.#answers.delete(place),
    );
    if (typeof block === 'string') return block;
    writeValue(this.#memory.region(block).bytes, this.#memory.wordOf(block) * 4, value, valueBytes);
    // Numbers have 32 bits and 0 is none.
    this.#lastNumber = (this.#lastNumber % 0xffff_ffff) + 1;
    this.#answers.set(place, { block, number: this.#lastNumber, valueBytes, has, ended: { ...ended } });
    return undefined;
  }

  /** Answers a CALL of the slot's present generation. False when nothing is kept for it. */
  reply(stream: CallStream, slot: number, attempt: number): boolean {
    const answer = this.#answers.get(placeOf(stream, slot));
    if (answer === undefined) return false;
    answer.block.lastMs = this.nowMs;
    // When nothing can be sent now, the client will ask again.
    if (!this.#messenger.append(stream.session, partedReplyBytes(answer.has), 0)) return true;
    const { words } = this.#messenger.out.control;
    const { word } = this.#messenger.out;
    writeReplyHead(words, word, 'ok', stream.number, slot, stream.generation[slot]!, attempt);
    writePartedReplyBody(words, word, answer.has, answer.ended, answer.number, answer.valueBytes);
    return true;
  }

  /** A CALL_PULL of a client. @param stream Undefined when there is none of the number in it. */
  onPull(stream: CallStream | undefined, session: Session<Peer>, words: Int32Array, word: number): void {
    const slot = slotOf(words, word);
    const byteOffset = words[word + WORD_PULL_OFFSET]!;
    const byteCount = words[word + WORD_PULL_BYTES]!;
    const found = stream === undefined ? undefined : this.#answers.get(placeOf(stream, slot));
    const answer = found?.number === words[word + WORD_PULL_ANSWER]! >>> 0 ? found : undefined;
    if (byteCount === 0) {
      if (answer !== undefined) this.drop(stream!, slot);
      return;
    }
    const partBytes = answer !== undefined && byteOffset + byteCount <= answer.valueBytes ? byteCount : 0;
    const controlBytes = CALL_REPLY_PART_BYTES + alignUp(partBytes);
    if (!this.#messenger.append(session, controlBytes, 0)) return;
    const { words: target } = this.#messenger.out.control;
    const at = this.#messenger.out.word;
    writeHead(target, at, MESSAGE_CALL_REPLY_PART, partBytes === 0 ? FLAG_GONE : 0, slot, words[word + 1]!);
    target[at + WORD_REPLY_PART_ANSWER] = words[word + WORD_PULL_ANSWER]!;
    target[at + WORD_REPLY_PART_OFFSET] = byteOffset;
    target[at + WORD_REPLY_PART_BYTES] = partBytes;
    target[at + WORD_REPLY_PART_BYTES + 1] = 0;
    if (answer === undefined || partBytes === 0) return;
    answer.block.lastMs = this.nowMs;
    const source = this.#memory.region(answer.block).words;
    const sourceWord = this.#memory.wordOf(answer.block) + (byteOffset >> 2);
    copyPadded(target, at + CALL_REPLY_PART_BYTES / 4, source, sourceWord, partBytes);
  }

  /** The client has gone on in the slot, or has all of it. */
  drop(stream: CallStream, slot: number): void {
    const place = placeOf(stream, slot);
    const answer = this.#answers.get(place);
    if (answer === undefined) return;
    this.#answers.delete(place);
    this.#memory.free(answer.block);
  }

  get keptCount(): number {
    return this.#answers.size;
  }

  invariants(): void {
    for (const { valueBytes, number } of this.#answers.values()) {
      assert(valueBytes > 0 && number > 0, 'an answer has a value and a number');
    }
  }
}
