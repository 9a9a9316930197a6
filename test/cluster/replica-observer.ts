import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_WRITE_BACK,
  MESSAGE_STATE,
  MESSAGE_WRITE,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
} from '../../src/protocol/messages.ts';
import { readU53 } from '../../net/bytes.ts';
import type { ReplicaNode } from '../../src/server/replica-node.ts';
import type { Message } from './messages-seen.ts';
import type { SealingObserver } from './observed-sealing.ts';
import type { WorldObserver } from './world-observer.ts';

/** Compares what a replica is told with what it has, just before it is told. */
export class ReplicaObserver implements SealingObserver {
  readonly #world: WorldObserver;
  readonly #node: ReplicaNode;
  readonly #name: string;
  readonly #onConflict: (key: string) => void;
  #wasActive = false;
  #hadVoted = false;
  #incarnation = '';

  /** @param onConflict A WRITE came whose stamp is known with another tag. */
  constructor(world: WorldObserver, name: string, node: ReplicaNode, onConflict: (key: string) => void) {
    this.#world = world;
    this.#name = name;
    this.#node = node;
    this.#onConflict = onConflict;
  }

  onSealing(): void {}

  onValueDone(): void {}

  onOpened(messages: readonly Message[], words: Int32Array): void {
    const { formation } = this.#node;
    this.#wasActive = formation.isActive;
    this.#hadVoted = formation.state === 'voted';
    this.#incarnation = formation.incarnation;
    if (!this.#wasActive) return;
    for (const message of messages) if (message.type === MESSAGE_WRITE) this.#onWrite(message, words);
  }

  afterHandled(messages: readonly Message[]): void {
    const { formation } = this.#node;
    if (formation.incarnation !== this.#incarnation) this.#world.rule('vote that came to nothing');
    if (formation.state === 'voted' && !this.#hadVoted) this.#world.onVoted(this.#name);
    if (this.#wasActive || !formation.isActive) return;
    const isTold = messages.some(({ type, state }) => type === MESSAGE_STATE && state === 'active');
    this.#world.rule(isTold ? 'active on the word of an active member' : 'active when all have voted');
  }

  #onWrite(message: Message, words: Int32Array): void {
    const { store } = this.#node;
    const { word, flags } = message;
    const entry = store.find(words, word + WORD_WRITE_KEY, words[word + WORD_KEY_BYTES]!);
    const order = store.compareStamp(
      entry,
      readU53(words, word + WORD_WRITE_COUNTER),
      words[word + WORD_WRITE_WRITER + 1]!,
      words[word + WORD_WRITE_WRITER]!,
      words[word + WORD_WRITE_RMW]!,
    );
    if (order > 0) return this.#world.rule('older write acknowledged, not applied');
    if (order === 0) {
      // The stamp of nothing, which no write may have: malformed.
      if (entry === NO_ENTRY) return;
      if (store.tagEquals(entry, words, word + WORD_WRITE_TAG)) return this.#world.rule('equal stamp acknowledged');
      return this.#onConflict(message.key!);
    }
    this.#world.rule('greater stamp applied');
    if ((flags & FLAG_WRITE_BACK) !== 0) this.#world.rule('write-back applied');
    if ((flags & FLAG_TOMBSTONE) !== 0) this.#world.rule('tombstone applied');
  }
}
