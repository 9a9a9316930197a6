import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import { Scratch } from '../../workers/scratch.ts';
import {
  CALL_OPENED_BYTES,
  CALL_REPLY_BYTES,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  NO_STREAM,
  WORD_CALL_ATTEMPT,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_REPLY_ATTEMPT,
  WORD_CALL_REPLY_STREAM,
  WORD_CALL_REPLY_VALUE,
  WORD_CALL_REPLY_VALUE_BYTES,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
} from '../protocol/call-messages.ts';
import type { Coordinator } from '../protocol/coordinator.ts';
import { KEY_BYTES_MAX, flagsOf, slotOf, writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import { OPERATION_DELETE, OPERATION_GET } from '../protocol/operation-table.ts';
import type { OperationSink, Outcome } from '../protocol/outcome.ts';
import type { Identity } from '../trust/authority.ts';
import type { Peer } from '../protocol/peer.ts';
import type { TrustedBudget } from '../store/trusted-budget.ts';
import { CALL_OUTCOMES, CALL_OUTCOME_NUMBERS } from './call-outcome.ts';
import type { CallOutcome } from './call-outcome.ts';
import type { CallStream } from './call-table.ts';
import { CallTable } from './call-table.ts';

/**
 * A replica's side of the coordinated route: takes calls, has each carried out once by the coordinator of its process, and
 * answers.
 *
 *     CALL, seen for the first time   started; answered when the operation ends
 *     CALL of a running operation     nothing: its answer is under way
 *     CALL of a finished write        the outcome once more
 *     CALL of a finished get          run again: it has no effect, and its value is not kept
 *     CALL that was followed by another in its slot   dropped: nobody waits for it
 */
/** What it needs of the coordinator. */
export type OperationStarter = Pick<Coordinator, 'capacity' | 'startGet' | 'startPut' | 'startDelete' | 'cancel'>;

export interface CallServerOptions {
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  readonly budget: TrustedBudget;
  /** Made when the first client comes. Undefined while the process has no room for one, or isn't active. */
  coordinator(): OperationStarter | undefined;
}

/** An operation's place and memory are held no longer than this, whatever a client asks for: it may call again. */
export const CALL_DEADLINE_MS_MAX = 60_000;

export class CallServer implements OperationSink {
  readonly table: CallTable;
  readonly #options: CallServerOptions;
  #coordinator: OperationStarter | undefined;
  #callCount = 0;
  #busyCount = 0;
  /** Which call an operation of the coordinator is for, by token: stream, slot and generation. */
  #streams: (CallStream | undefined)[] = [];
  #slots = new Int32Array(0);
  #generations = new Int32Array(0);
  /** Only the end of a get brings a value. */
  #kinds = new Uint8Array(0);
  #freeTokens = new Int32Array(0);
  #freeCount = 0;
  readonly #key = new Scratch(KEY_BYTES_MAX);
  #value: Scratch | undefined;
  #nowMs = 0;

  constructor(options: CallServerOptions) {
    this.#options = options;
    this.table = new CallTable(options.budget, (operationId) => this.#coordinator!.cancel(operationId));
  }

  /** Calls that were run, repeated ones not counted. */
  get callCount(): number {
    return this.#callCount;
  }

  /** Calls that were refused for want of room. */
  get busyCount(): number {
    return this.#busyCount;
  }

  // -- streams ----------------------------------------------------------------------------------------------------

  onOpen(incoming: Incoming<Peer>, word: number, nowMs: number): void {
    const { session, region } = incoming;
    const { words } = region;
    if (session.peer.identity.role !== 'client') return this.#options.drops.count('unexpected-message');
    this.#coordinator ??= this.#begin();
    const slotCount = words[word + WORD_CALL_SLOTS]!;
    const stream =
      this.#coordinator === undefined ? undefined : this.table.open(session, words[word + 1]!, slotCount, nowMs);
    stream?.onSession(session, nowMs);
    const { messenger } = this.#options;
    if (!messenger.append(session, CALL_OPENED_BYTES, 0)) return;
    const { out } = messenger;
    writeHead(out.control.words, out.word, MESSAGE_CALL_OPENED, 0, slotOf(words, word), words[word + 1]!);
    out.control.words[out.word + WORD_CALL_OPENED_STREAM] = stream?.number ?? NO_STREAM;
    out.control.words[out.word + WORD_CALL_OPENED_STREAM + 1] = 0;
  }

  #begin(): OperationStarter | undefined {
    const coordinator = this.#options.coordinator();
    if (coordinator === undefined) return undefined;
    const { capacity } = coordinator;
    this.#streams = Array.from<CallStream | undefined>({ length: capacity });
    this.#slots = new Int32Array(capacity);
    this.#generations = new Int32Array(capacity);
    this.#kinds = new Uint8Array(capacity);
    this.#freeTokens = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#freeCount = capacity;
    return coordinator;
  }

  // -- calls ------------------------------------------------------------------------------------------------------

  onCall(incoming: Incoming<Peer>, word: number, nowMs: number): void {
    this.#nowMs = nowMs;
    const { session, region } = incoming;
    const { words } = region;
    const { identity, key } = session.peer;
    if (identity.role !== 'client') return this.#options.drops.count('unexpected-message');
    const slot = slotOf(words, word);
    const generation = words[word + 1]!;
    const attempt = words[word + WORD_CALL_ATTEMPT]!;
    const streamNumber = words[word + WORD_CALL_STREAM]! >>> 0;
    const stream = this.table.find(key, streamNumber);
    if (stream === undefined) return this.#answer(session, streamNumber, slot, generation, attempt, 'stream-unknown');
    if (slot >= stream.slotCount) return this.#options.drops.count('malformed');
    stream.onSession(session, nowMs);
    const kind = flagsOf(words, word);
    switch (stream.judge(slot, generation)) {
      case 'late':
        return this.#options.drops.count('late-call');
      case 'running':
        return;
      case 'finished':
        if (kind === OPERATION_GET) break;
        return this.#answerOf(stream, slot, attempt, CALL_OUTCOMES[stream.outcome[slot]!]!);
      case 'new':
    }
    // Nobody waits for the call that was in the slot before.
    if (stream.isRunning(slot, stream.generation[slot]!)) this.#giveUp(stream, slot);
    if (!isPermitted(kind, identity)) return this.#refuse(stream, slot, generation, attempt, 'not-permitted');
    this.#start(stream, slot, kind, words, word);
  }

  #giveUp(stream: CallStream, slot: number): void {
    const operationId = stream.operationId[slot]!;
    stream.finish(slot, stream.generation[slot]!, CALL_OUTCOME_NUMBERS['outcome-unknown']);
    this.#coordinator!.cancel(operationId);
  }

  #start(stream: CallStream, slot: number, kind: number, words: Int32Array, word: number): void {
    const generation = words[word + 1]!;
    const attempt = words[word + WORD_CALL_ATTEMPT]! >>> 0;
    const keyBytes = words[word + WORD_CALL_KEY_BYTES]!;
    const valueBytes = words[word + WORD_CALL_VALUE_BYTES]!;
    const token = this.#freeCount === 0 ? NO_TOKEN : this.#freeTokens[--this.#freeCount]!;
    if (token === NO_TOKEN) return this.#refuse(stream, slot, generation, attempt, 'busy');
    this.#streams[token] = stream;
    this.#slots[token] = slot;
    this.#generations[token] = generation;
    this.#kinds[token] = kind;
    const operationId = this.#startOperation(token, kind, words, word, keyBytes, valueBytes);
    if (operationId === -1) {
      this.#release(token);
      return this.#refuse(stream, slot, generation, attempt, 'busy');
    }
    this.#callCount++;
    stream.begin(slot, generation, operationId, attempt);
  }

  #startOperation(
    token: number,
    kind: number,
    words: Int32Array,
    word: number,
    keyBytes: number,
    valueBytes: number,
  ): number {
    const coordinator = this.#coordinator!;
    const deadlineMs = Math.min(words[word + WORD_CALL_DEADLINE_MS]! >>> 0, CALL_DEADLINE_MS_MAX);
    this.#key.load(words, word + WORD_CALL_KEY, keyBytes);
    const key = this.#key.view(keyBytes);
    if (kind === OPERATION_GET) return coordinator.startGet(token, key, deadlineMs, this.#nowMs);
    if (kind === OPERATION_DELETE) return coordinator.startDelete(token, key, deadlineMs, this.#nowMs);
    const value = this.#valueScratch(valueBytes);
    value.load(words, word + WORD_CALL_KEY + (alignUp(keyBytes) >> 2), valueBytes);
    return coordinator.startPut(token, key, value.view(valueBytes), deadlineMs, this.#nowMs);
  }

  #valueScratch(valueBytes: number): Scratch {
    if (this.#value === undefined || this.#value.region.bytes.length < valueBytes) {
      this.#value = new Scratch(Math.max(VALUE_SCRATCH_BYTES_MIN, valueBytes));
    }
    return this.#value;
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onOperationEnded(token: number, outcome: Outcome, opened: Uint8Array, openedBytes: number): void {
    const stream = this.#streams[token]!;
    const slot = this.#slots[token]!;
    const generation = this.#generations[token]!;
    this.#release(token);
    // The client has gone on, or has another stream.
    if (!stream.isRunning(slot, generation)) return;
    // What was opened last may be another client's value.
    const valueBytes = this.#kinds[token] === OPERATION_GET ? openedBytes : 0;
    const controlBytes = CALL_REPLY_BYTES + alignUp(valueBytes);
    const isTooLarge = outcome === 'ok' && !this.#options.messenger.fits(stream.session, controlBytes, 0);
    const said = isTooLarge ? 'too-large' : outcome;
    stream.finish(slot, generation, CALL_OUTCOME_NUMBERS[said]);
    if (said !== 'ok') return this.#answerOf(stream, slot, stream.attempt[slot]!, said);
    const { session, number } = stream;
    if (!this.#append(session, number, slot, generation, stream.attempt[slot]!, 'ok', valueBytes)) return;
    const { control, word } = this.#options.messenger.out;
    const start = (word + WORD_CALL_REPLY_VALUE) * 4;
    copyBytes(control.bytes, start, opened, valueBytes);
    control.bytes.fill(0, start + valueBytes, start + alignUp(valueBytes));
  }

  #release(token: number): void {
    assert(this.#streams[token] !== undefined, 'an operation ends once');
    this.#streams[token] = undefined;
    this.#freeTokens[this.#freeCount++] = token;
  }

  /** Kept as the call's outcome: a copy of it that comes later must not be run when the client has been told that none was. */
  #refuse(stream: CallStream, slot: number, generation: number, attempt: number, outcome: CallOutcome): void {
    if (outcome === 'busy') this.#busyCount++;
    stream.finish(slot, generation, CALL_OUTCOME_NUMBERS[outcome]);
    this.#answerOf(stream, slot, attempt, outcome);
  }

  /** To the latest call of the slot. */
  #answerOf(stream: CallStream, slot: number, attempt: number, outcome: CallOutcome): void {
    this.#answer(stream.session, stream.number, slot, stream.generation[slot]!, attempt, outcome);
  }

  #answer(
    session: Session<Peer>,
    streamNumber: number,
    slot: number,
    generation: number,
    attempt: number,
    outcome: CallOutcome,
  ): void {
    this.#append(session, streamNumber, slot, generation, attempt, outcome, 0);
  }

  /** False when nothing can be sent now: the client will ask again. */
  #append(
    session: Session<Peer>,
    streamNumber: number,
    slot: number,
    generation: number,
    attempt: number,
    outcome: CallOutcome,
    valueBytes: number,
  ): boolean {
    const { messenger } = this.#options;
    if (!messenger.append(session, CALL_REPLY_BYTES + alignUp(valueBytes), 0)) return false;
    const { out } = messenger;
    const { words } = out.control;
    writeHead(words, out.word, MESSAGE_CALL_REPLY, CALL_OUTCOME_NUMBERS[outcome], slot, generation);
    words[out.word + WORD_CALL_REPLY_STREAM] = streamNumber;
    words[out.word + WORD_CALL_REPLY_VALUE_BYTES] = valueBytes;
    words[out.word + WORD_CALL_REPLY_ATTEMPT] = attempt;
    words[out.word + WORD_CALL_REPLY_ATTEMPT + 1] = 0;
    return true;
  }

  invariants(): void {
    this.table.invariants();
    if (this.#coordinator === undefined) return;
    const taken = this.#streams.filter((stream) => stream !== undefined).length;
    assert(taken + this.#freeCount === this.#streams.length, 'tokens are free or taken');
  }
}

const NO_TOKEN = -1;
/** Values of usual records; larger ones make it grow. */
const VALUE_SCRATCH_BYTES_MIN = 16 * 1024;

/** Below this a loop is cheaper than the view that set() needs (80 ns). */
const COPY_LOOP_BYTES_MAX = 64;

function copyBytes(target: Uint8Array, start: number, source: Uint8Array, byteCount: number): void {
  if (byteCount > COPY_LOOP_BYTES_MAX) {
    target.set(source.subarray(0, byteCount), start);
    return;
  }
  for (let i = 0; i < byteCount; i++) target[start + i] = source[i]!;
}

/** What a client may not do itself no replica does for it. */
function isPermitted(kind: number, identity: Identity): boolean {
  return kind === OPERATION_GET ? identity.mayRead : identity.mayWrite;
}
