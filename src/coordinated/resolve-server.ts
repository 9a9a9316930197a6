import { assert } from '../../net/assert.ts';
import { writeU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { Scratch } from '../../workers/scratch.ts';
import {
  FLAG_BUSY,
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_TRUSTED_FULL,
  KEY_BYTES_MAX,
  WORD_KEY_BYTES,
  slotOf,
  writeHead,
} from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { EndedStamp, Outcome } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import {
  MESSAGE_RESOLVE_REPLY,
  RESOLVE_REPLY_BYTES,
  WORD_RESOLVED_COUNTER,
  WORD_RESOLVED_RMW,
  WORD_RESOLVED_WRITER,
  WORD_RESOLVE_KEY,
} from '../protocol/resolve-messages.ts';
import type { OperationStarter } from './call-operations.ts';

/**
 * A replica's side of RESOLVE: a client that may not write has met stamps of a key that differ, so it may not answer with
 * the newest before a quorum holds it, and may not see to that itself. A get by the coordinator of this process does: when
 * it ends, a quorum holds what it read, and the client is told that stamp.
 *
 *     RESOLVE, not under way   a get is begun, if there is room; else BUSY
 *     RESOLVE under way        nothing: its answer will come
 *     RESOLVE answered before  a get once more: it has no effect, so nothing is kept
 */
export const RESOLVES_MAX = 64;
/** Of one session: others must have places left. A reader has as many at once as it meets writes under way. */
export const RESOLVES_PER_SESSION_MAX = 16;
/** Then there is no quorum, and the client is told to ask again, here or elsewhere. */
export const RESOLVE_DEADLINE_MS = 2_000;

export interface ResolveServerOptions {
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  /** Token of the first place: those below it are of other owners of the coordinator's operations. */
  readonly firstToken: number;
  /** Undefined while the process has no room for one, or isn't active. */
  coordinator(): Pick<OperationStarter, 'startGet' | 'ended'> | undefined;
}

/** Who waits for what. Pooled. */
interface Place {
  session: Session<Peer> | undefined;
  slot: number;
  generation: number;
}

const NONE: EndedStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };

export class ResolveServer {
  readonly #options: ResolveServerOptions;
  readonly #places: readonly Place[] = Array.from({ length: RESOLVES_MAX }, () => ({
    session: undefined,
    slot: 0,
    generation: 0,
  }));
  readonly #key = new Scratch(KEY_BYTES_MAX);
  #coordinator: Pick<OperationStarter, 'startGet' | 'ended'> | undefined;
  #resolvedCount = 0;
  #busyCount = 0;

  constructor(options: ResolveServerOptions) {
    this.#options = options;
  }

  /** Reads that were finished for clients. */
  get resolvedCount(): number {
    return this.#resolvedCount;
  }

  /** Those that there was no room for. */
  get busyCount(): number {
    return this.#busyCount;
  }

  onResolve(incoming: Incoming<Peer>, word: number, nowMs: number): void {
    const { session, region } = incoming;
    const { words } = region;
    const slot = slotOf(words, word);
    const generation = words[word + 1]!;
    if (this.#isUnderWay(session, slot, generation)) return;
    if (!this.#begin(session, words, word, nowMs)) {
      this.#busyCount++;
      this.#reply(session, slot, generation, FLAG_BUSY, NONE);
    }
  }

  #isUnderWay(session: Session<Peer>, slot: number, generation: number): boolean {
    return this.#places.some(
      (place) => place.session === session && place.slot === slot && place.generation === generation,
    );
  }

  /** False when there is no room. */
  #begin(session: Session<Peer>, words: Int32Array, word: number, nowMs: number): boolean {
    this.#coordinator ??= this.#options.coordinator();
    const free = this.#places.findIndex((place) => place.session === undefined);
    const own = this.#places.filter((place) => place.session === session).length;
    if (this.#coordinator === undefined || free === -1 || own >= RESOLVES_PER_SESSION_MAX) return false;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    this.#key.load(words, word + WORD_RESOLVE_KEY, keyBytes);
    const place = this.#places[free]!;
    place.session = session;
    place.slot = slotOf(words, word);
    place.generation = words[word + 1]!;
    const token = this.#options.firstToken + free;
    const operationId = this.#coordinator.startGet(token, this.#key.view(keyBytes), RESOLVE_DEADLINE_MS, nowMs);
    if (operationId !== -1) return true;
    place.session = undefined;
    return false;
  }

  /** The get of a place has ended: from now on a quorum holds what it read. */
  onOperationEnded(token: number, outcome: Outcome): void {
    const place = this.#places[token - this.#options.firstToken]!;
    const { session, slot, generation } = place;
    assert(session !== undefined, 'a get ends once');
    place.session = undefined;
    const isDone = outcome === 'ok' || outcome === 'absent';
    if (isDone) this.#resolvedCount++;
    this.#reply(session, slot, generation, FLAGS[outcome] ?? FLAG_BUSY, isDone ? this.#coordinator!.ended : NONE);
  }

  #reply(session: Session<Peer>, slot: number, generation: number, flags: number, stamp: EndedStamp): void {
    const { messenger } = this.#options;
    // When nothing can be sent now, the client will ask again.
    if (!messenger.append(session, RESOLVE_REPLY_BYTES, 0)) return;
    const { word } = messenger.out;
    const { words } = messenger.out.control;
    writeHead(words, word, MESSAGE_RESOLVE_REPLY, flags, slot, generation);
    words[word + 2] = 0;
    words[word + WORD_RESOLVED_RMW] = stamp.rmw;
    writeU53(words, word + WORD_RESOLVED_COUNTER, stamp.counter);
    words[word + WORD_RESOLVED_WRITER] = stamp.writerLow;
    words[word + WORD_RESOLVED_WRITER + 1] = stamp.writerHigh;
  }
}

/** What the reader is told; where nothing is said here, that it is to ask again. */
const FLAGS: Readonly<Partial<Record<Outcome, number>>> = {
  ok: 0,
  absent: 0,
  'trusted-memory-full': FLAG_TRUSTED_FULL,
  'host-memory-full': FLAG_HOST_FULL,
  unreadable: FLAG_CONFLICT,
};
