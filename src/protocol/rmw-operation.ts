import { copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { Region } from '../../net/bytes.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { HostMemory } from '../store/host-memory.ts';
import type { Outcome } from './outcome.ts';
import type { Writer } from './put-flow.ts';
import type { RmwRequest } from './rmw-request.ts';
import { CONDITION_NONE, RMW_SET } from './rmw-request.ts';

/**
 * What a read-modify-write under way remembers beside its place in the table of operations (operation-table.ts), which holds
 * key, phase, masks, and the greatest stamp seen with its value. One object a slot, made when the slot first has a
 * read-modify-write and used again.
 */

/** Word offsets in Proposal.words: id (writer, sequence number), counter, writer, rmw, tag. */
export const PROPOSAL_ID = 0;
export const PROPOSAL_COUNTER = 4;
export const PROPOSAL_WRITER = 6;
export const PROPOSAL_RMW = 8;
export const PROPOSAL_TAG = 9;
const PROPOSAL_WORDS = 13;

/** What is proposed for a slot: whose it is, the stamp it creates, the sealed value. */
export class Proposal {
  readonly words = new Int32Array(PROPOSAL_WORDS);
  isTombstone = false;
  /** Where the envelope lies: in an own block, or in the datagram that brought it. Undefined: there is none. */
  region: Region | undefined;
  word = 0;
  envelopeBytes = 0;
  ref = NO_REF;

  hasIdOf(words: Int32Array, word: number): boolean {
    for (let i = 0; i < 4; i++) if (this.words[PROPOSAL_ID + i] !== words[word + i]) return false;
    return true;
  }

  hasTag(words: Int32Array, word: number): boolean {
    for (let i = 0; i < 4; i++) if (this.words[PROPOSAL_TAG + i] !== words[word + i]) return false;
    return true;
  }

  /** The stamp, as a version. */
  get counter(): number {
    return readU53(this.words, PROPOSAL_COUNTER);
  }

  setStamp(counter: number, writerHigh: number, writerLow: number, rmw: number): void {
    writeU53(this.words, PROPOSAL_COUNTER, counter);
    this.words[PROPOSAL_WRITER] = writerLow;
    this.words[PROPOSAL_WRITER + 1] = writerHigh;
    this.words[PROPOSAL_RMW] = rmw;
  }

  setTag(words: Int32Array, word: number): void {
    copyWords(this.words, PROPOSAL_TAG, words, word, 4);
  }

  clear(memory: HostMemory): void {
    if (this.ref !== NO_REF) memory.free(this.ref);
    this.ref = NO_REF;
    this.region = undefined;
    this.envelopeBytes = 0;
    this.isTombstone = false;
  }
}

/** Bytes in a block of the process's memory for operations. */
export class Held {
  ref = NO_REF;
  byteCount = 0;

  /** False when that memory is at its limit. */
  set(memory: HostMemory, bytes: Uint8Array): boolean {
    this.clear(memory);
    if (bytes.length === 0) return true;
    const ref = memory.allocate(bytes.length);
    if (ref === NO_REF) return false;
    this.ref = ref;
    this.byteCount = bytes.length;
    memory.region(ref).bytes.set(bytes, memory.wordOffset(ref) * 4);
    return true;
  }

  /** Valid until it is set or cleared. */
  view(memory: HostMemory): Uint8Array {
    if (this.ref === NO_REF) return NO_BYTES;
    const start = memory.wordOffset(this.ref) * 4;
    return memory.region(this.ref).bytes.subarray(start, start + this.byteCount);
  }

  clear(memory: HostMemory): void {
    if (this.ref !== NO_REF) memory.free(this.ref);
    this.ref = NO_REF;
    this.byteCount = 0;
  }
}

const NO_BYTES = new Uint8Array(0);

/** What a value is opened for. */
export type OpenPurpose = 'base' | 'help' | 'catch-up';
/**
 * What a COMMIT is for: the own proposal was decided; another's was; members lack earlier slots; the value found is written
 * back before a failed condition is answered.
 */
export type CommitPurpose = 'own' | 'helped' | 'catch-up' | 'read';

export class RmwOperation {
  // -- the request
  request: RmwRequest | undefined;
  readonly value = new Held();
  readonly expected = new Held();

  // -- slots and ballots
  /** The slot that promises are gathered for, or that the proposal is for. */
  slot = 1;
  /** No slot below this one is asked for: earlier ones are decided. */
  floor = 1;
  /**
   * The one slot in which the own proposal was sent to somebody and may still be decided; 0: none. Only evidence that the slot
   * decided something else sets it back.
   */
  sent = 0;
  ballot = 0;
  /** Who is asked for its promise first, by all coordinators of the key; NO_MEMBER: all are asked at once. */
  gate = 0;
  /** The gate has promised, and another member a greater ballot: all are asked at once, and nobody is yielded to. */
  isLetThrough = false;
  /** Whether the next one of its process and key waits for it. */
  isQueued = false;
  /** How many of its process and key before it have followed each other without a pause. */
  inRow = 0;
  /** Back-offs so far: other coordinators are at work on the key. */
  attempts = 0;

  // -- masks of members, of this phase
  promised = 0;
  /** Who has not decided the slot before. */
  behind = 0;
  /** Who has promised another ballot. */
  nacked = 0;
  /** Who has decided the slot, but no longer knows whose proposal that was. */
  cannotShow = 0;
  /** Who has accepted, or holds what is committed. */
  granted = 0;
  /** Who is asked without the value, which is larger than a datagram, and lacks it: it goes there by parts. */
  lacks = 0;
  /** Whom a COMMIT for members that lack earlier slots is for. */
  targets = 0;
  /** Whose copy of the accepted value did not open; since the slot was begun. */
  badAccepted = 0;

  // -- proposals
  readonly own = new Proposal();
  /** What of others was accepted in the slot under the highest ballot seen. */
  readonly accepted = new Proposal();
  hasAccepted = false;
  /** Its value is here, or it needs none. */
  hasAcceptedValue = false;
  /** Ballot of `accepted`: number, writer. */
  readonly acceptedBallot = new Int32Array(4);
  acceptedMember = 0;
  /** `own` or `accepted`. */
  current: Proposal = this.own;
  /** Id of what the slot before decided; zero: not known. */
  readonly lastId = new Int32Array(4);
  /** What FETCH asks for is to be sent to members that lack it. */
  isCatchingUp = false;
  openPurpose: OpenPurpose = 'base';
  commitPurpose: CommitPurpose = 'own';

  // -- the answer, which belongs to the own proposal
  outcome: Outcome = 'ok';
  readonly answer = new Held();
  hasAnswer = false;

  /** False when memory is at its limit; then nothing is kept. @param sequence With the writer, the id. */
  begin(memory: HostMemory, request: RmwRequest, writer: Writer, sequence: number): boolean {
    this.slot = 1;
    this.floor = 1;
    this.sent = 0;
    this.isQueued = true;
    this.inRow = 0;
    this.promised = 0;
    this.attempts = 0;
    this.badAccepted = 0;
    this.lacks = 0;
    this.outcome = 'ok';
    this.hasAnswer = false;
    this.hasAccepted = false;
    this.current = this.own;
    const id = this.own.words;
    id[PROPOSAL_ID] = writer.writerLow;
    id[PROPOSAL_ID + 1] = writer.writerHigh;
    writeU53(id, PROPOSAL_ID + 2, sequence);
    const isKept = this.value.set(memory, request.value) && this.expected.set(memory, request.expected);
    if (!isKept) {
      this.clear(memory);
      return false;
    }
    this.request = { ...request, value: this.value.view(memory), expected: this.expected.view(memory) };
    return true;
  }

  /** What was sent and is not known to have come to nothing may take effect. */
  outcomeOfGivingUp(reason: Outcome): Outcome {
    return this.sent === 0 ? reason : 'outcome-unknown';
  }

  get isHelping(): boolean {
    return this.current !== this.own;
  }

  /** Whether what is committed is what the slot has decided. */
  get isDecided(): boolean {
    return this.commitPurpose === 'own' || this.commitPurpose === 'helped';
  }

  /** Whether the value before is the answer: of a getAndSet. */
  get answersBefore(): boolean {
    return this.request!.condition === CONDITION_NONE && this.request!.change === RMW_SET;
  }

  clear(memory: HostMemory): void {
    this.request = undefined;
    this.value.clear(memory);
    this.expected.clear(memory);
    this.answer.clear(memory);
    this.own.clear(memory);
    this.accepted.clear(memory);
  }
}

/** Trusted bytes of each. Measured on Node 20: 1,490 of heap. */
export const RMW_OPERATION_BYTES = 1_536;

/** By slot of the table of operations. */
export class RmwOperations {
  readonly #operations: (RmwOperation | undefined)[] = [];

  of(slot: number): RmwOperation {
    return (this.#operations[slot] ??= new RmwOperation());
  }
}
