import { assert } from '../../net/assert.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_OPENED_BYTES,
  CALL_RMW,
  MESSAGE_CALL_OPENED,
  NO_STREAM,
  WORD_CALL_ATTEMPT,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  isReadOnly,
} from '../protocol/call-messages.ts';
import { WORD_PULL_STREAM } from '../protocol/call-part-messages.ts';
import { flagsOf, slotOf, writeHead } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import { isAnswer } from '../protocol/outcome.ts';
import type { OperationSink, Outcome } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import { isCallPartPermitted, isCallPermitted } from '../protocol/permissions.ts';
import type { TrustedBudget } from '../store/trusted-budget.ts';
import { CallOperations } from './call-operations.ts';
import type { OperationStarter } from './call-operations.ts';
import { CallAnswers } from './call-answers.ts';
import { CALL_OUTCOME_NUMBERS } from './call-outcome.ts';
import { CallAssemblies } from './call-parts-assembly.ts';
import { CallPartsMemory } from './call-parts-memory.ts';
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
 *     CALL of a finished read-modify-write   its answer once more, while it is kept; else outcome-unknown
 *     CALL that was followed by another in its slot   dropped: nobody waits for it
 *     CALL_PART                       put together first (call-parts-assembly.ts); of a call that was run: as the CALL
 */
export interface CallServerOptions {
  readonly messenger: Messenger;
  readonly drops: DropCounters;
  readonly budget: TrustedBudget;
  /** Made when the first client comes. Undefined while the process has no room for one, or isn't active. */
  coordinator(): OperationStarter | undefined;
}

export class CallServer implements OperationSink {
  readonly table: CallTable;
  readonly partsMemory: CallPartsMemory;
  readonly assemblies: CallAssemblies;
  readonly answers: CallAnswers;
  readonly #options: CallServerOptions;
  #coordinator: OperationStarter | undefined;
  #callCount = 0;
  #busyCount = 0;
  /** Which call an operation of the coordinator is for, by token: stream, slot and generation. */
  #streams: (CallStream | undefined)[] = [];
  #slots = new Int32Array(0);
  #generations = new Int32Array(0);
  /** Says whether the end brings a value and a version. */
  #kinds = new Uint8Array(0);
  #freeTokens = new Int32Array(0);
  #freeCount = 0;
  readonly #operations = new CallOperations();
  #nowMs = 0;

  constructor(options: CallServerOptions) {
    this.#options = options;
    const { budget, messenger } = options;
    this.table = new CallTable(budget, (operationId) => this.#coordinator!.cancel(operationId));
    this.partsMemory = new CallPartsMemory(budget);
    this.assemblies = new CallAssemblies(this.partsMemory, messenger);
    this.answers = new CallAnswers(messenger, budget, this.partsMemory);
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
    const { session, region } = incoming;
    const { words } = region;
    const stream = this.#streamOf(session, words, word, nowMs);
    if (stream === undefined || !this.#isNew(stream, words, word)) return;
    const { identity } = session.peer;
    const slot = slotOf(words, word);
    const generation = words[word + 1]!;
    const attempt = words[word + WORD_CALL_ATTEMPT]!;
    const kind = flagsOf(words, word);
    this.#leaveBefore(stream, slot);
    this.assemblies.drop(stream, slot);
    if (!isCallPermitted(identity.permissions, kind, words, word))
      return this.#refuse(stream, slot, generation, attempt, 'not-permitted');
    this.#start(stream, slot, kind, words, word, nowMs);
  }

  /** When it makes its call whole, that is handled as any CALL. */
  onPart(incoming: Incoming<Peer>, word: number, nowMs: number): void {
    const { words } = incoming.region;
    const stream = this.#streamOf(incoming.session, words, word, nowMs);
    if (stream === undefined || !this.#isNew(stream, words, word)) return;
    const slot = slotOf(words, word);
    this.#leaveBefore(stream, slot);
    if (!isCallPartPermitted(incoming.session.peer.identity.permissions, words, word)) {
      this.assemblies.drop(stream, slot);
      return this.#refuse(stream, slot, words[word + 1]!, words[word + WORD_CALL_ATTEMPT]!, 'not-permitted');
    }
    const verdict = this.assemblies.onPart(stream, incoming, word, nowMs, this.#onWhole);
    switch (verdict) {
      case 'taken':
      case 'whole':
        return;
      case 'late':
        return this.#options.drops.count('late-call');
      case 'malformed':
        return this.#options.drops.count('malformed');
      case 'busy':
      case 'trusted-memory-full':
        return this.#refuse(stream, slot, words[word + 1]!, words[word + WORD_CALL_ATTEMPT]!, verdict);
    }
  }

  readonly #onWhole = (call: Incoming<Peer>): void => this.onCall(call, call.word, this.#nowMs);

  /** A part of an answer is asked for. */
  onPull({ session, region }: Incoming<Peer>, word: number, nowMs: number): void {
    const { words } = region;
    const { identity, key } = session.peer;
    this.#setTime(nowMs);
    if (identity.role !== 'client') return this.#options.drops.count('unexpected-message');
    const stream = this.table.find(key, words[word + WORD_PULL_STREAM]! >>> 0);
    if (stream !== undefined && slotOf(words, word) >= stream.slotCount) return this.#options.drops.count('malformed');
    stream?.onSession(session, nowMs);
    this.answers.parted.onPull(stream, session, words, word);
  }

  /** The stream of a CALL or CALL_PART; undefined when it has none, which was seen to. */
  #streamOf(session: Session<Peer>, words: Int32Array, word: number, nowMs: number): CallStream | undefined {
    this.#setTime(nowMs);
    const { identity, key } = session.peer;
    const { drops } = this.#options;
    if (identity.role !== 'client') {
      drops.count('unexpected-message');
      return undefined;
    }
    const slot = slotOf(words, word);
    const streamNumber = words[word + WORD_CALL_STREAM]! >>> 0;
    const stream = this.table.find(key, streamNumber);
    if (stream === undefined) {
      const attempt = words[word + WORD_CALL_ATTEMPT]!;
      this.answers.tellSession(session, streamNumber, slot, words[word + 1]!, attempt, 'stream-unknown');
      return undefined;
    }
    if (slot >= stream.slotCount) {
      drops.count('malformed');
      return undefined;
    }
    stream.onSession(session, nowMs);
    return stream;
  }

  /** Whether a call is to be run. If not, it was answered, or needs no answer. */
  #isNew(stream: CallStream, words: Int32Array, word: number): boolean {
    const slot = slotOf(words, word);
    const attempt = words[word + WORD_CALL_ATTEMPT]!;
    switch (stream.judge(slot, words[word + 1]!)) {
      case 'late':
        this.#options.drops.count('late-call');
        return false;
      case 'running':
        return false;
      case 'finished':
        if (isReadOnly(flagsOf(words, word))) return !this.answers.parted.reply(stream, slot, attempt);
        this.answers.again(stream, slot, attempt);
        return false;
      case 'new':
        return true;
    }
  }

  /** Nobody waits for the call that was in the slot before, or needs its answer. */
  #leaveBefore(stream: CallStream, slot: number): void {
    if (stream.isRunning(slot, stream.generation[slot]!)) this.#giveUp(stream, slot);
    this.answers.parted.drop(stream, slot);
  }

  #giveUp(stream: CallStream, slot: number): void {
    const operationId = stream.operationId[slot]!;
    stream.finish(slot, stream.generation[slot]!, CALL_OUTCOME_NUMBERS['outcome-unknown']);
    this.#coordinator!.cancel(operationId);
  }

  #start(stream: CallStream, slot: number, kind: number, words: Int32Array, word: number, nowMs: number): void {
    const generation = words[word + 1]!;
    const attempt = words[word + WORD_CALL_ATTEMPT]! >>> 0;
    const canStart = this.#freeCount > 0 && (kind !== CALL_RMW || this.answers.canKeep());
    const token = canStart ? this.#freeTokens[--this.#freeCount]! : NO_TOKEN;
    if (token === NO_TOKEN) return this.#refuse(stream, slot, generation, attempt, 'busy');
    this.#streams[token] = stream;
    this.#slots[token] = slot;
    this.#generations[token] = generation;
    this.#kinds[token] = kind;
    const answerBytesMax = this.answers.changedBytesMax(stream);
    const operationId = this.#operations.start(this.#coordinator!, token, words, word, answerBytesMax, nowMs);
    if (operationId === -1) {
      this.#release(token);
      return this.#refuse(stream, slot, generation, attempt, 'busy');
    }
    this.#callCount++;
    stream.begin(slot, generation, operationId, attempt);
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onOperationEnded(token: number, outcome: Outcome, opened: Uint8Array, openedBytes: number): void {
    const stream = this.#streams[token]!;
    const slot = this.#slots[token]!;
    const generation = this.#generations[token]!;
    this.#release(token);
    // The client has gone on, or has another stream.
    if (!stream.isRunning(slot, generation)) return;
    const attempt = stream.attempt[slot]!;
    if (!isAnswer(outcome)) {
      stream.finish(slot, generation, CALL_OUTCOME_NUMBERS[outcome]);
      return this.answers.tell(stream, slot, attempt, outcome);
    }
    const { ended } = this.#coordinator!;
    const kind = this.#kinds[token]!;
    const refusal = this.answers.finish(stream, slot, kind, outcome, ended, opened, openedBytes);
    if (refusal !== undefined) this.#refuse(stream, slot, generation, attempt, refusal);
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
    this.answers.tell(stream, slot, attempt, outcome);
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** First of all in a turn. */
  begin(nowMs: number): void {
    this.#setTime(nowMs);
  }

  #setTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.answers.parted.nowMs = nowMs;
  }

  /** When what has arrived is handled: says which parts of calls have come, and gives up what nobody goes on with. */
  tick(nowMs: number): void {
    this.assemblies.flush();
    this.partsMemory.tick(nowMs);
  }

  invariants(): void {
    this.table.invariants();
    this.assemblies.invariants();
    this.answers.parted.invariants();
    this.partsMemory.invariants();
    const { blockCount } = this.partsMemory;
    assert(
      blockCount === this.assemblies.openCount + this.answers.parted.keptCount,
      'a block holds a call or an answer',
    );
    if (this.#coordinator === undefined) return;
    const taken = this.#streams.filter((stream) => stream !== undefined).length;
    assert(taken + this.#freeCount === this.#streams.length, 'tokens are free or taken');
  }
}

const NO_TOKEN = -1;
