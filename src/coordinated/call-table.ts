import { assert } from '../../net/assert.ts';
import type { Session } from '../../net/session.ts';
import { CALL_SLOTS_MAX } from '../protocol/call-messages.ts';
import type { Peer } from '../protocol/peer.ts';
import type { TrustedBudget } from '../store/trusted-budget.ts';
import { TYPED_ARRAY_OVERHEAD_BYTES } from '../store/trusted-budget.ts';
import { NO_ANSWER } from './kept-answers.ts';

/**
 * What a replica remembers of its clients' calls, so that each is run once however often it arrives: by client process
 * (static key and writer id), not by session, since sessions are renewed.
 *
 * Each client has one stream, and in it the slots that it puts its calls into, one at a time each. A slot keeps the
 * generation of its latest call and what became of it. The next call in a slot has a greater generation, and says by
 * that alone that the client waits for the one before it no longer.
 *
 * A client whose stream is gone (it was idle and others needed the room) gets another one under a number that was never
 * given before; calls of the old one are answered stream-unknown and never run.
 */

/** One a client process: a replica serves some hundreds at once, and a command line's stream is idle soon. */
export const STREAMS_MAX = 512;
/** Trusted memory for streams: of 200 clients at the default of 1,024 calls at once, of all at less than 200 calls. */
export const STREAM_BYTES_MAX = 4 * 1024 * 1024;
/** Who has not called for so long may lose its stream to another: much longer than a client repeats a call in vain. */
export const STREAM_IDLE_MS = 10_000;
/** Generation u32, operation id f64, state u8, outcome u8, attempt u8. */
const SLOT_BYTES = 15;
/** The stream's record, its client's name, its entry in the table; and five arrays. */
const STREAM_OVERHEAD_BYTES = 512 + 5 * TYPED_ARRAY_OVERHEAD_BYTES;
/** Streams are numbered from 1 with 32 bits. */
const STREAM_NUMBER_MAX = 2 ** 32 - 1;

/** No call has come in this slot. */
export const SLOT_UNUSED = 0;
export const SLOT_RUNNING = 1;
/** The outcome is kept and given again to whoever asks. */
export const SLOT_FINISHED = 2;

/** What a CALL is, before anything is done about it. */
export type CallVerdict = 'new' | 'running' | 'finished' | 'late';

const ACCOUNT = 'calls';

/** A slot among all that any stream ever had. */
export function placeOf(stream: CallStream, slot: number): number {
  assert(slot < stream.slotCount, 'the slot is one of the stream');
  return stream.number * CALL_SLOTS_MAX + slot;
}

export function slotAt(place: number): number {
  return place % CALL_SLOTS_MAX;
}

/** Of one client process. */
export class CallStream {
  readonly number: number;
  readonly clientKey: string;
  /** Of the CALL_OPEN that it was made for. */
  readonly openGeneration: number;
  readonly slotCount: number;
  readonly openedMs: number;
  /** Latest call of each slot. */
  readonly generation: Int32Array;
  readonly state: Uint8Array;
  /** When finished: a number of CALL_OUTCOMES. */
  readonly outcome: Uint8Array;
  /** When running: the coordinator's id of the operation. When finished: where its answer is kept (kept-answers.ts). */
  readonly operationId: Float64Array;
  /** When running: how often the client had sent the call before the one that came first. */
  readonly attempt: Uint8Array;
  /** Where answers go: the client's newest session. */
  session: Session<Peer>;
  usedMs: number;
  runningCount = 0;

  constructor(
    number: number,
    session: Session<Peer>,
    openGeneration: number,
    slotCount: number,
    openedMs: number,
    memory: CallStream | undefined,
  ) {
    this.number = number;
    this.clientKey = session.peer.key;
    this.session = session;
    this.openGeneration = openGeneration;
    this.slotCount = slotCount;
    this.openedMs = openedMs;
    this.usedMs = openedMs;
    // A client that opens another stream gets the memory of the one that it gives up.
    this.generation = memory?.generation ?? new Int32Array(slotCount);
    this.state = memory?.state.fill(SLOT_UNUSED) ?? new Uint8Array(slotCount);
    this.outcome = memory?.outcome ?? new Uint8Array(slotCount);
    this.operationId = memory?.operationId ?? new Float64Array(slotCount);
    this.attempt = memory?.attempt ?? new Uint8Array(slotCount);
  }

  /** A client's datagrams can overtake one another: an older session takes no answers away from a newer one. */
  onSession(session: Session<Peer>, nowMs: number): void {
    this.usedMs = nowMs;
    if (session === this.session) return;
    if (session.createdMs >= this.session.createdMs || !this.session.canSend()) this.session = session;
  }

  judge(slot: number, generation: number): CallVerdict {
    const state = this.state[slot]!;
    if (state === SLOT_UNUSED) return 'new';
    // Serial numbers (RFC 1982): a slot would need 2^31 calls within a session's 180 s to be misjudged.
    const ahead = (generation - this.generation[slot]!) | 0;
    if (ahead > 0) return 'new';
    if (ahead < 0) return 'late';
    return state === SLOT_RUNNING ? 'running' : 'finished';
  }

  begin(slot: number, generation: number, operationId: number, attempt: number): void {
    assert(this.state[slot] !== SLOT_RUNNING, 'the call before has ended or was given up');
    this.generation[slot] = generation;
    this.state[slot] = SLOT_RUNNING;
    this.operationId[slot] = operationId;
    this.attempt[slot] = Math.min(attempt, 255);
    this.runningCount++;
  }

  /** Also of a call that is refused without having been run: it never will be. */
  finish(slot: number, generation: number, outcome: number): void {
    if (this.state[slot] === SLOT_RUNNING) this.runningCount--;
    this.operationId[slot] = NO_ANSWER;
    this.generation[slot] = generation;
    this.state[slot] = SLOT_FINISHED;
    this.outcome[slot] = outcome;
  }

  /** More than the outcome is kept of a finished call. */
  keep(slot: number, place: number): void {
    assert(this.state[slot] === SLOT_FINISHED, 'only what has ended has an answer');
    this.operationId[slot] = place;
  }

  keptAnswer(slot: number): number {
    return this.state[slot] === SLOT_FINISHED ? this.operationId[slot]! : NO_ANSWER;
  }

  isRunning(slot: number, generation: number): boolean {
    return this.state[slot] === SLOT_RUNNING && this.generation[slot] === generation;
  }
}

export class CallTable {
  readonly #budget: TrustedBudget;
  readonly #streams = new Map<string, CallStream>();
  /** An operation of a stream that is given up: it is not waited for any more. */
  readonly #cancel: (operationId: number) => void;
  #bytes = 0;
  #lastNumber = 0;
  /** When there was no room last: looking for some is not repeated at the same time. */
  #fullMs = -Infinity;

  constructor(budget: TrustedBudget, cancel: (operationId: number) => void) {
    this.#budget = budget;
    this.#cancel = cancel;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Trusted bytes of all streams. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The client's stream, if it has this number. */
  find(clientKey: string, number: number): CallStream | undefined {
    const stream = this.#streams.get(clientKey);
    return stream !== undefined && stream.number === number ? stream : undefined;
  }

  /** The stream for a CALL_OPEN, made now if it is the first of its generation. Undefined: none now, ask again. */
  open(session: Session<Peer>, generation: number, slotCount: number, nowMs: number): CallStream | undefined {
    if (slotCount < 1 || slotCount > CALL_SLOTS_MAX) return undefined;
    const before = this.#streams.get(session.peer.key);
    if (before !== undefined) {
      const ahead = (generation - before.openGeneration) | 0;
      if (ahead === 0) return before;
      // A CALL_OPEN of long ago must not end the stream that is in use; and nobody opens many in one turn.
      if (ahead < 0 || before.openedMs === nowMs) return undefined;
      this.#close(before);
    }
    const number = this.#lastNumber + 1;
    if (number > STREAM_NUMBER_MAX || !this.#makeRoom(streamBytes(slotCount), nowMs)) return undefined;
    this.#lastNumber = number;
    const memory = before?.slotCount === slotCount ? before : undefined;
    const stream = new CallStream(number, session, generation, slotCount, nowMs, memory);
    this.#streams.set(stream.clientKey, stream);
    this.#bytes += streamBytes(slotCount);
    return stream;
  }

  #makeRoom(byteCount: number, nowMs: number): boolean {
    if (this.#fullMs === nowMs) return false;
    while (!this.#tryReserve(byteCount)) {
      const idle = this.#longestIdle(nowMs);
      if (idle === undefined) {
        this.#fullMs = nowMs;
        return false;
      }
      this.#close(idle);
    }
    return true;
  }

  #tryReserve(byteCount: number): boolean {
    if (this.#streams.size >= STREAMS_MAX || this.#bytes + byteCount > STREAM_BYTES_MAX) return false;
    return this.#budget.tryReserve(ACCOUNT, byteCount);
  }

  #longestIdle(nowMs: number): CallStream | undefined {
    let idlest: CallStream | undefined;
    for (const stream of this.#streams.values()) {
      if (stream.runningCount > 0 || nowMs - stream.usedMs < STREAM_IDLE_MS) continue;
      if (idlest === undefined || stream.usedMs < idlest.usedMs) idlest = stream;
    }
    return idlest;
  }

  #close(stream: CallStream): void {
    this.#streams.delete(stream.clientKey);
    this.#bytes -= streamBytes(stream.slotCount);
    this.#budget.release(ACCOUNT, streamBytes(stream.slotCount));
    if (stream.runningCount === 0) return;
    for (let slot = 0; slot < stream.slotCount; slot++) {
      if (stream.state[slot] !== SLOT_RUNNING) continue;
      stream.state[slot] = SLOT_UNUSED;
      this.#cancel(stream.operationId[slot]!);
    }
    stream.runningCount = 0;
  }

  invariants(): void {
    let byteCount = 0;
    for (const stream of this.#streams.values()) {
      byteCount += streamBytes(stream.slotCount);
      const running = stream.state.reduce((count, state) => count + (state === SLOT_RUNNING ? 1 : 0), 0);
      assert(running === stream.runningCount, 'running calls are counted');
      assert(stream.number <= this.#lastNumber, 'no stream has a number that was not given');
    }
    assert(byteCount === this.#bytes, 'bytes of streams are counted');
  }
}

function streamBytes(slotCount: number): number {
  return slotCount * SLOT_BYTES + STREAM_OVERHEAD_BYTES;
}
