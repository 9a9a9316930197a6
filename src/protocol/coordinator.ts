import { assert } from '../../net/assert.ts';
import { alignUp, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/endpoint.ts';
import type { Session } from '../../net/session.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { STAMP_COUNTER_MAX, compareStamps } from '../stamp.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { NO_REF } from '../store/host-memory.ts';
import { MemberPicker } from './member-picker.ts';
import {
  FLAGS_REFUSED,
  FLAG_CONFLICT,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_TOMBSTONE,
  FLAG_TOO_LARGE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  KEY_BYTES_MAX,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE,
  MESSAGE_WRITE_REPLY,
  OPERATION_SLOTS_MAX,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_RMW,
  WORD_REPLY_TAG,
  WORD_REPLY_WRITER,
  WORD_STAMP_COUNTER,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  slotOf,
  typeOf,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import {
  OPERATION_DELETE,
  OPERATION_GET,
  OPERATION_PUT,
  OperationTable,
  PHASE_ENDED,
  PHASE_FETCH,
  PHASE_FREE,
  PHASE_OPEN,
  PHASE_READ,
  PHASE_SEAL,
  PHASE_STAMP,
  PHASE_WRITE,
  PHASE_WRITE_BACK,
} from './operation-table.ts';
import type { OperationSink, Outcome } from './outcome.ts';
import type { Peer } from './peer.ts';
import { hasMember, memberCountOf, quorumOf } from './quorum.ts';
import { Requests } from './requests.ts';
import { TimerWheel } from './timer-wheel.ts';

/**
 * Carries out operations against a quorum: multi-writer ABD (Lynch and Shvartsman 1997) with thrifty quorums. A pure
 * state machine: it reads no clock and no socket, and values are sealed and opened elsewhere, asynchronously.
 *
 *     get     READ: stamps of a quorum, value of one.  A quorum holds the newest: OPEN it, done in one round.
 *             Else: value not at hand: FETCH it.  OPEN it.  WRITE_BACK until a quorum holds it.  Then answer.
 *     put     STAMP: greatest counter of a quorum (the value is sealed meanwhile: SEAL when that takes longer),
 *             WRITE under counter + 1 to all, done at a quorum of acknowledgements.
 *     delete  a put of a tombstone.
 *
 * A copy that does not open loses its value, not its stamp: another member's copy under the same stamp and tag is taken,
 * and REPAIR is sent to the bad one. Whatever the network does, an operation ends by quorum, deadline or cancellation.
 */
export interface CoordinatorOptions {
  readonly memberCount: number;
  readonly capacity: number;
  /** The process's random writer id. */
  readonly writerHigh: number;
  readonly writerLow: number;
  /** Keys and envelopes of operations in flight. */
  readonly memory: HostMemory;
  readonly messenger: Messenger;
  readonly sealing: ValueSealing;
  readonly drops: DropCounters;
  readonly sink: OperationSink;
  /** Members whose answers count now. */
  readyMask(): number;
  /** Epoch whose answers count now. */
  epoch(): number;
  session(member: number): Session<Peer> | undefined;
  /** A message that answers no operation. */
  onOtherMessage(incoming: Incoming<Peer>, word: number): void;
}

export interface CoordinatorCounters {
  /** Messages sent again because no answer came in time. */
  retransmissions: number;
  /** Further members asked because the first quorum was slow. */
  hedges: number;
  /** Values that failed their check, and were taken from another replica. */
  tampered: number;
  /** REPAIR messages sent. */
  repairs: number;
  /** Gets that had to write the newest value back before they answered. */
  writeBacks: number;
}

export class Coordinator {
  readonly counters: CoordinatorCounters = { retransmissions: 0, hedges: 0, tampered: 0, repairs: 0, writeBacks: 0 };
  readonly #options: CoordinatorOptions;
  readonly #table: OperationTable;
  readonly #requests: Requests;
  readonly #picker: MemberPicker;
  readonly #timers: TimerWheel;
  readonly #quorum: number;
  readonly #allMask: number;
  /** Puts whose value is to be sealed after this turn's datagrams have left. */
  readonly #unsealed: number[] = [];
  /** The greatest counter this writer has allocated: no two of its writes share a stamp. */
  #ownCounter = 0;
  #nowMs = 0;
  #closed = false;
  /** Of the datagram at hand: its answers count; a round trip may be taken from it (one is enough). */
  #answersCount = false;
  #sampleDue = false;
  readonly #fire = (slot: number): void => this.#onTimer(slot);

  constructor(options: CoordinatorOptions) {
    assert(options.capacity <= OPERATION_SLOTS_MAX, 'operation slots are 16 bits on the wire');
    this.#options = options;
    this.#table = new OperationTable(options.capacity, options.memory);
    this.#requests = new Requests(this.#table, options.messenger);
    this.#picker = new MemberPicker(options.memberCount);
    this.#timers = new TimerWheel(options.capacity);
    this.#quorum = quorumOf(options.memberCount);
    this.#allMask = (1 << options.memberCount) - 1;
  }

  get active(): number {
    return this.#table.active;
  }

  get capacity(): number {
    return this.#table.capacity;
  }

  // -- starting and ending ----------------------------------------------------------------------------------------

  /** Starts an operation; its id, or -1 when table or memory is full. Key and value are copied. */
  startGet(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_GET, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    this.#read(slot);
    return this.#operationId(slot);
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number, nowMs: number): number {
    const { memory, sealing } = this.#options;
    const headerBytes = sealing.envelopeHeaderBytes;
    const ref = memory.allocate(Math.max(headerBytes + value.length, 1));
    if (ref === NO_REF) return -1;
    const slot = this.#start(OPERATION_PUT, token, key, deadlineMs, nowMs);
    if (slot === -1) {
      memory.free(ref);
      return -1;
    }
    const table = this.#table;
    table.envelopeRef[slot] = ref;
    table.envelopeBytes[slot] = headerBytes + value.length;
    memory.region(ref).bytes.set(value, memory.wordOffset(ref) * 4 + headerBytes);
    table.sealed[slot] = 0;
    this.#unsealed.push(slot);
    this.#stamp(slot);
    return this.#operationId(slot);
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_DELETE, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    this.#table.tombstone[slot] = 1;
    this.#table.sealed[slot] = 1;
    this.#stamp(slot);
    return this.#operationId(slot);
  }

  #operationId(slot: number): number {
    return this.#table.serial[slot]! * OPERATION_SLOTS_MAX + slot;
  }

  #start(kind: number, token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    assert(key.length >= 1 && key.length <= KEY_BYTES_MAX, 'keys have 1 to 1,024 bytes');
    this.#nowMs = nowMs;
    if (this.#closed) return -1;
    const { memory } = this.#options;
    const keyRef = memory.allocate(alignUp(key.length));
    if (keyRef === NO_REF) return -1;
    const table = this.#table;
    const slot = table.take();
    if (slot === -1) {
      memory.free(keyRef);
      return -1;
    }
    const region = memory.region(keyRef);
    const keyWord = memory.wordOffset(keyRef);
    const lastWord = keyWord + (alignUp(key.length) >> 2) - 1;
    region.words[lastWord] = 0;
    region.words[lastWord - 1] = 0;
    region.bytes.set(key, keyWord * 4);
    table.kind[slot] = kind;
    table.token[slot] = token;
    table.keyRef[slot] = keyRef;
    table.keyBytes[slot] = key.length;
    table.envelopeBytes[slot] = 0;
    table.tombstone[slot] = 0;
    table.sealed[slot] = 0;
    table.deadlineMs[slot] = nowMs + deadlineMs;
    table.rereads[slot] = 0;
    table.serial[slot]! += 1;
    this.#picker.advanceTurn();
    return slot;
  }

  /** Ends an operation at the caller's wish; without effect when it has ended. */
  cancel(operationId: number): void {
    const slot = operationId % OPERATION_SLOTS_MAX;
    if (slot < this.#table.capacity && this.#operationId(slot) === operationId) this.#giveUp(slot, 'aborted');
  }

  /** Ends every operation; no other is started any more. */
  close(): void {
    this.#closed = true;
    for (let slot = 0; slot < this.#table.capacity; slot++) this.#giveUp(slot, 'closed');
  }

  /** Deadline, cancellation, close: a write that was sent may still take effect, or have taken it. */
  #giveUp(slot: number, reason: 'deadline' | 'aborted' | 'closed'): void {
    const phase = this.#table.phase[slot]!;
    if (phase === PHASE_FREE || phase === PHASE_ENDED) return;
    this.#end(slot, phase === PHASE_WRITE && this.#table.asked[slot] !== 0 ? 'outcome-unknown' : reason);
  }

  #end(slot: number, outcome: Outcome): void {
    const { sink, sealing } = this.#options;
    const table = this.#table;
    const token = table.token[slot]!;
    this.#timers.clear(slot);
    if (table.jobPending[slot] === 1) table.phase[slot] = PHASE_ENDED;
    else table.release(slot);
    // Last of all: the sink may start operations.
    sink.onOperationEnded(token, outcome, sealing.openedValue, outcome === 'ok' ? sealing.openedValueBytes : 0);
  }

  // -- phases -----------------------------------------------------------------------------------------------------

  /** A new phase has a new generation: answers to an earlier one count for nothing. */
  #enter(slot: number, phase: number): void {
    const table = this.#table;
    table.phase[slot] = phase;
    table.generation[slot] = (table.generation[slot]! + 1) | 0;
    table.asked[slot] = 0;
    table.epoch[slot] = this.#options.epoch();
    table.replied[slot] = 0;
    table.sampled[slot] = 0;
    table.refused[slot] = 0;
    table.attempt[slot] = 0;
    table.phaseMs[slot] = this.#nowMs;
  }

  #read(slot: number): void {
    const table = this.#table;
    this.#enter(slot, PHASE_READ);
    table.counter[slot] = 0;
    table.writerHigh[slot] = 0;
    table.writerLow[slot] = 0;
    table.rmw[slot] = 0;
    table.tombstone[slot] = 1;
    table.sealed[slot] = 0;
    table.holders[slot] = 0;
    table.bad[slot] = 0;
    table.lacking[slot] = 0;
    table.dropEnvelope(slot);
    const members = this.#firstMembers(this.#quorum);
    table.valueMember[slot] = this.#picker.first(members);
    this.#askFirst(slot, members);
  }

  /** Asks for the newest value where it is known to be; where it may be, when it is known nowhere else. */
  #fetch(slot: number): void {
    const table = this.#table;
    const useless = table.bad[slot]! | table.lacking[slot]!;
    if (useless === this.#allMask) {
      // Everyone was asked. Those that lacked the value may have it by now: that is looked at once more.
      const isLastLook = table.lacking[slot] === 0 || table.rereads[slot]! > 0;
      if (table.bad[slot] !== 0 && isLastLook) return this.#end(slot, 'unreadable');
      if (table.bad[slot] !== 0) table.rereads[slot]! += 1;
      return this.#read(slot);
    }
    const usable = this.#options.readyMask() & ~useless;
    const holders = usable & table.holders[slot]!;
    const candidates = holders !== 0 ? holders : usable;
    this.#enter(slot, PHASE_FETCH);
    this.#askFirst(slot, candidates === 0 ? 0 : 1 << this.#picker.first(candidates));
  }

  /** Hands the value to the sealing: to check it before it is written back, or to answer with it. */
  #open(slot: number): void {
    const table = this.#table;
    const { memory, sealing } = this.#options;
    const ref = table.envelopeRef[slot]!;
    const keyRef = table.keyRef[slot]!;
    table.phase[slot] = PHASE_OPEN;
    table.jobPending[slot] = 1;
    this.#timers.set(slot, table.deadlineMs[slot]!);
    sealing.submitOpenValue(
      slot,
      memory.region(ref),
      memory.wordOffset(ref),
      table.envelopeBytes[slot]!,
      table.tags,
      table.tagWord(slot),
      memory.region(keyRef).words,
      memory.wordOffset(keyRef),
      table.keyBytes[slot]!,
    );
  }

  #writeBack(slot: number): void {
    this.counters.writeBacks++;
    this.#enter(slot, PHASE_WRITE_BACK);
    this.#askFirst(slot, this.#options.readyMask() & ~this.#table.holders[slot]!);
  }

  #stamp(slot: number): void {
    this.#enter(slot, PHASE_STAMP);
    this.#table.counter[slot] = 0;
    this.#askFirst(slot, this.#firstMembers(this.#quorum));
  }

  /** Own counter is raised as the stamp is allocated, whatever becomes of the write. */
  #write(slot: number): void {
    const table = this.#table;
    if (this.#ownCounter >= STAMP_COUNTER_MAX) return this.#end(slot, 'stamps-exhausted');
    this.#ownCounter = Math.max(table.counter[slot]!, this.#ownCounter) + 1;
    table.counter[slot] = this.#ownCounter;
    table.writerHigh[slot] = this.#options.writerHigh;
    table.writerLow[slot] = this.#options.writerLow;
    table.rmw[slot] = 0;
    table.holders[slot] = 0;
    this.#enter(slot, PHASE_WRITE);
    this.#askFirst(slot, this.#options.readyMask());
  }

  /** The epoch has changed: what was gathered in this phase does not count; phases before it stand. */
  #restartPhase(slot: number): void {
    const table = this.#table;
    switch (table.phase[slot]!) {
      case PHASE_READ:
      case PHASE_FETCH:
        return this.#read(slot);
      case PHASE_STAMP:
        return this.#stamp(slot);
      case PHASE_WRITE_BACK:
        table.holders[slot] = 0;
        return this.#writeBack(slot);
      default:
        // The stamp stays: a write is never repeated under another one.
        table.holders[slot] = 0;
        this.#enter(slot, PHASE_WRITE);
        this.#askFirst(slot, this.#options.readyMask());
    }
  }

  // -- asking -----------------------------------------------------------------------------------------------------

  /** Thrifty: just a quorum, and now and then a silent member to see whether it is back. */
  #firstMembers(count: number): number {
    const ready = this.#options.readyMask();
    return this.#picker.pick(ready, count) | this.#picker.probeMask(ready, this.#nowMs);
  }

  #askFirst(slot: number, members: number): void {
    const table = this.#table;
    table.sampled[slot] = this.#ask(slot, members);
    const everyone = (this.#options.readyMask() & ~table.asked[slot]!) === 0;
    // No hedge later than an answer is overdue: its delay follows how long phases take, and where more of them lose a
    // datagram than are to be hedged, it would follow itself up to its bound.
    const rtoMs = this.#picker.rtoMs(table.asked[slot]!, 0);
    this.#wait(slot, everyone ? rtoMs : Math.min(rtoMs, this.#picker.hedgeDelayMs()));
  }

  /** Members that the request went out to. */
  #ask(slot: number, members: number): number {
    let sent = 0;
    for (let member = 0; member < this.#options.memberCount; member++) {
      if (hasMember(members, member) && this.#askOne(slot, member)) sent |= 1 << member;
    }
    this.#table.asked[slot]! |= sent;
    return sent;
  }

  #askOne(slot: number, member: number): boolean {
    const session = this.#options.session(member);
    if (session === undefined) return false;
    switch (this.#table.phase[slot]!) {
      case PHASE_READ:
        return this.#requests.read(session, slot, this.#table.valueMember[slot] === member);
      case PHASE_FETCH:
        return this.#requests.read(session, slot, true);
      case PHASE_STAMP:
        return this.#requests.stamp(session, slot);
      case PHASE_WRITE:
        return this.#requests.write(session, slot, MESSAGE_WRITE, 0);
      case PHASE_WRITE_BACK:
        return this.#requests.write(session, slot, MESSAGE_WRITE, FLAG_WRITE_BACK);
      default:
        return false;
    }
  }

  #wait(slot: number, waitMs: number): void {
    this.#timers.set(slot, Math.min(this.#nowMs + waitMs, this.#table.deadlineMs[slot]!));
  }

  #onTimer(slot: number): void {
    const table = this.#table;
    if (this.#nowMs >= table.deadlineMs[slot]!) return this.#giveUp(slot, 'deadline');
    const phase = table.phase[slot]!;
    if (phase === PHASE_OPEN || phase === PHASE_SEAL) return this.#wait(slot, Infinity);
    const silent = table.asked[slot]! & ~table.replied[slot]!;
    this.#picker.onOverdue(silent, table.phaseMs[slot]!);
    // A candidate for the value may have none left that is ready: look again.
    if (phase === PHASE_FETCH && table.asked[slot] === 0) return this.#fetch(slot);
    // The one that holds it is silent, and a quorum of others does not: nothing was answered yet, so read anew.
    if (phase === PHASE_FETCH && memberCountOf(table.lacking[slot]!) >= this.#quorum) return this.#read(slot);
    const eligible = this.#eligible(slot);
    if (this.#hedge(slot, eligible & ~table.asked[slot]!) === 0) {
      table.sampled[slot] = 0;
      const again = this.#ask(slot, eligible & table.asked[slot]! & ~table.replied[slot]!);
      this.counters.retransmissions += memberCountOf(again);
      table.attempt[slot] = Math.min(table.attempt[slot]! + 1, 255);
    }
    this.#wait(slot, this.#picker.rtoMs(table.asked[slot]!, table.attempt[slot]!));
  }

  /** Asks members that were not asked yet; returns those it could send to. */
  #hedge(slot: number, members: number): number {
    if (members === 0) return 0;
    const table = this.#table;
    const hadAsked = table.asked[slot] !== 0;
    // The one that was to send the value has not: another one is asked for it, too.
    if (table.phase[slot] === PHASE_READ && !hasMember(table.replied[slot]!, table.valueMember[slot]!)) {
      table.valueMember[slot] = this.#picker.first(members);
    }
    const sent = this.#ask(slot, members);
    if (hadAsked) this.counters.hedges += memberCountOf(sent);
    return sent;
  }

  /** Members whose answer would help the phase on. */
  #eligible(slot: number): number {
    const ready = this.#options.readyMask();
    const table = this.#table;
    if (table.phase[slot] === PHASE_WRITE_BACK) return ready & ~table.holders[slot]!;
    if (table.phase[slot] === PHASE_FETCH) return ready & ~(table.bad[slot]! | table.lacking[slot]!);
    return ready;
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#nowMs = nowMs;
    const { words } = incoming.region;
    const { wordEnd, valueWordEnd } = incoming;
    const member = incoming.session.peer.identity.memberIndex;
    this.#picker.onHeard(member, nowMs);
    this.#answersCount = incoming.epoch === this.#options.epoch() && hasMember(this.#options.readyMask(), member);
    this.#sampleDue = true;
    let { word, valueWord } = incoming;
    while (word < wordEnd) {
      const byteCount = messageBytes(words, word, wordEnd, (valueWordEnd - valueWord) * 4);
      if (byteCount < 0) return this.#options.drops.count('malformed');
      this.#onAnswer(incoming, member, word, valueWord);
      valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
      word += byteCount >> 2;
    }
  }

  #onAnswer(incoming: Incoming<Peer>, member: number, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const table = this.#table;
    const type = typeOf(words, word);
    if (type !== MESSAGE_READ_REPLY && type !== MESSAGE_STAMP_REPLY && type !== MESSAGE_WRITE_REPLY) {
      return this.#options.onOtherMessage(incoming, word);
    }
    if (!this.#answersCount) return this.#options.drops.count('wrong-epoch');
    const slot = slotOf(words, word);
    if (
      slot >= table.capacity ||
      table.generation[slot] !== words[word + 1] ||
      hasMember(table.replied[slot]!, member) ||
      !answers(type, table.phase[slot]!)
    ) {
      return this.#options.drops.count('late-answer');
    }
    // Each phase counts answers of one epoch only.
    if (table.epoch[slot] !== incoming.epoch) return this.#restartPhase(slot);
    if (this.#sampleDue && hasMember(table.sampled[slot]!, member)) {
      this.#sampleDue = false;
      this.#picker.onRoundTrip(member, this.#nowMs - table.phaseMs[slot]!);
    }
    table.replied[slot]! |= 1 << member;
    if (type === MESSAGE_READ_REPLY) this.#onReadReply(slot, member, words, word, valueWord);
    else if (type === MESSAGE_STAMP_REPLY) this.#onStampReply(slot, member, words, word);
    else this.#onWriteReply(slot, member, flagsOf(words, word));
  }

  #onReadReply(slot: number, member: number, words: Int32Array, word: number, valueWord: number): void {
    const table = this.#table;
    const order = compareStamps(
      readU53(words, word + WORD_REPLY_COUNTER),
      words[word + WORD_REPLY_WRITER + 1]!,
      words[word + WORD_REPLY_WRITER]!,
      words[word + WORD_REPLY_RMW]!,
      table.counter[slot]!,
      table.writerHigh[slot]!,
      table.writerLow[slot]!,
      table.rmw[slot]!,
    );
    const flags = flagsOf(words, word);
    if ((flags & FLAG_NOT_PERMITTED) !== 0) return this.#end(slot, 'not-permitted');
    if (table.phase[slot] === PHASE_FETCH) return this.#onFetchReply(slot, member, order, words, word, valueWord);
    if (order > 0) this.#raise(slot, words, word);
    if (order >= 0) {
      table.holders[slot]! |= 1 << member;
      if (table.envelopeRef[slot] === NO_REF) this.#keepValue(slot, member, words, word, valueWord);
    }
    if (memberCountOf(table.replied[slot]!) >= this.#quorum) this.#decideRead(slot);
  }

  /** A newer stamp than any met: what was known of the older one is of no use. */
  #raise(slot: number, words: Int32Array, word: number): void {
    const table = this.#table;
    table.counter[slot] = readU53(words, word + WORD_REPLY_COUNTER);
    table.writerLow[slot] = words[word + WORD_REPLY_WRITER]!;
    table.writerHigh[slot] = words[word + WORD_REPLY_WRITER + 1]!;
    table.rmw[slot] = words[word + WORD_REPLY_RMW]!;
    table.tombstone[slot] = (flagsOf(words, word) & FLAG_TOMBSTONE) !== 0 ? 1 : 0;
    table.holders[slot] = 0;
    table.dropEnvelope(slot);
  }

  #keepValue(slot: number, member: number, words: Int32Array, word: number, valueWord: number): void {
    if ((flagsOf(words, word) & FLAG_VALUE) === 0) return;
    const envelopeBytes = words[word + WORD_REPLY_ENVELOPE_BYTES]!;
    const table = this.#table;
    if (table.keepEnvelope(slot, words, valueWord, envelopeBytes, words, word + WORD_REPLY_TAG)) {
      table.valueMember[slot] = member;
    }
  }

  #decideRead(slot: number): void {
    const table = this.#table;
    this.#picker.onPhase(this.#nowMs - table.phaseMs[slot]!);
    if (table.tombstone[slot] === 1) {
      if (table.counter[slot] === 0 || this.#isHeldByQuorum(slot)) this.#end(slot, 'absent');
      else this.#writeBack(slot);
    } else if (table.envelopeRef[slot] === NO_REF) this.#fetch(slot);
    else this.#open(slot);
  }

  #onFetchReply(slot: number, member: number, order: number, words: Int32Array, word: number, valueWord: number): void {
    const table = this.#table;
    const flags = flagsOf(words, word);
    // Overwritten meanwhile: the newest stamp is another one, begin again.
    if (order > 0) return this.#read(slot);
    // It was put with larger datagrams than this process's: no other member could send it either.
    if (order === 0 && (flags & FLAG_TOO_LARGE) !== 0) return this.#end(slot, 'too-large');
    if (order === 0 && (flags & FLAG_VALUE) !== 0) {
      table.holders[slot]! |= 1 << member;
      // After a bad copy only one with the same tag will do: a stamp names one value.
      if (table.bad[slot] === 0 || table.tagEquals(slot, words, word + WORD_REPLY_TAG)) {
        this.#keepValue(slot, member, words, word, valueWord);
        if (table.envelopeRef[slot] !== NO_REF) this.#open(slot);
        // No memory for it now: it will be asked again.
        else table.replied[slot]! &= ~(1 << member);
        return;
      }
      this.#options.drops.count('stamp-conflict');
      table.bad[slot]! |= 1 << member;
    } else table.lacking[slot]! |= 1 << member;
    // Others may have been asked, too: theirs may still come.
    if ((table.asked[slot]! & ~table.replied[slot]!) === 0) this.#fetch(slot);
  }

  /** From the sealing. */
  onValueOpened(slot: number, opened: boolean): void {
    const table = this.#table;
    table.jobPending[slot] = 0;
    if (table.phase[slot] === PHASE_ENDED) return table.release(slot);
    if (!opened) {
      this.counters.tampered++;
      table.bad[slot]! |= 1 << table.valueMember[slot]!;
      table.dropEnvelope(slot);
      return this.#fetch(slot);
    }
    if (table.bad[slot] !== 0) this.#repair(slot);
    if (this.#isHeldByQuorum(slot)) this.#end(slot, 'ok');
    else this.#writeBack(slot);
  }

  /** Members that sent a bad copy of this stamp are sent the good one; no answer is waited for. */
  #repair(slot: number): void {
    const table = this.#table;
    const bad = table.bad[slot]! & table.holders[slot]!;
    for (let member = 0; member < this.#options.memberCount; member++) {
      const session = hasMember(bad, member) ? this.#options.session(member) : undefined;
      if (session === undefined) continue;
      if (this.#requests.write(session, slot, MESSAGE_REPAIR, 0)) this.counters.repairs++;
    }
    table.bad[slot] = 0;
  }

  #isHeldByQuorum(slot: number): boolean {
    return memberCountOf(this.#table.holders[slot]!) >= this.#quorum;
  }

  #onStampReply(slot: number, member: number, words: Int32Array, word: number): void {
    const table = this.#table;
    const flags = flagsOf(words, word);
    if ((flags & FLAGS_REFUSED) !== 0) return this.#onStampRefused(slot, member, flags);
    table.counter[slot] = Math.max(table.counter[slot]!, readU53(words, word + WORD_STAMP_COUNTER));
    // Only a malicious writer gets there; checked before a stamp is allocated, so that other keys can still be written.
    if (table.counter[slot]! >= STAMP_COUNTER_MAX) return this.#end(slot, 'stamps-exhausted');
    // Who refuses would refuse the WRITE, too: it takes a quorum of others.
    if (memberCountOf(table.replied[slot]! & ~table.refused[slot]!) < this.#quorum) return;
    this.#picker.onPhase(this.#nowMs - table.phaseMs[slot]!);
    if (table.sealed[slot] === 1) return this.#write(slot);
    table.phase[slot] = PHASE_SEAL;
    this.#wait(slot, Infinity);
  }

  /** A member that lacks a key needs room for it, while those that have it may need none: it takes more than one refusal. */
  #onStampRefused(slot: number, member: number, flags: number): void {
    const table = this.#table;
    table.refused[slot]! |= 1 << member;
    const left = this.#options.memberCount - memberCountOf(table.refused[slot]!);
    // Nothing was written yet: the put certainly had no effect.
    if (left < this.#quorum || (flags & FLAG_NOT_PERMITTED) !== 0) return this.#end(slot, refusalOf(flags));
    this.#ask(slot, this.#options.readyMask() & ~table.asked[slot]!);
  }

  #onWriteReply(slot: number, member: number, flags: number): void {
    const table = this.#table;
    if ((flags & FLAGS_REFUSED) !== 0) {
      table.refused[slot]! |= 1 << member;
      const left = this.#options.memberCount - memberCountOf(table.refused[slot]!);
      if (left >= this.#quorum) return;
      // Some member may have taken the write, or will when an earlier sending of it arrives, and a reader find it there.
      const refusedByAll = table.refused[slot] === this.#allMask && table.attempt[slot] === 0;
      const certain = table.phase[slot] === PHASE_WRITE_BACK || refusedByAll;
      return this.#end(slot, certain ? refusalOf(flags) : 'outcome-unknown');
    }
    table.holders[slot]! |= 1 << member;
    if (!this.#isHeldByQuorum(slot)) return;
    if (table.phase[slot] === PHASE_WRITE) return this.#end(slot, 'ok');
    if (table.tombstone[slot] === 1) return this.#end(slot, 'absent');
    this.#open(slot);
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** Retransmissions, hedges and deadlines that are due. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#timers.advance(nowMs, this.#fire);
  }

  /**
   * Hands new values to the sealing, true when there were any: after the turn's datagrams have left, so that it overlaps
   * with the first round.
   */
  submitSeals(): boolean {
    if (this.#unsealed.length === 0) return false;
    const table = this.#table;
    const { memory, sealing } = this.#options;
    for (const slot of this.#unsealed) {
      const ref = table.envelopeRef[slot]!;
      const keyRef = table.keyRef[slot]!;
      // Ended already, perhaps begun anew as something else.
      if (table.kind[slot] !== OPERATION_PUT || ref === NO_REF || table.jobPending[slot] === 1) continue;
      if (table.sealed[slot] === 1) continue;
      table.jobPending[slot] = 1;
      sealing.submitSealValue(
        slot,
        memory.region(ref),
        memory.wordOffset(ref),
        table.envelopeBytes[slot]!,
        table.tags,
        table.tagWord(slot),
        memory.region(keyRef).words,
        memory.wordOffset(keyRef),
        table.keyBytes[slot]!,
      );
    }
    this.#unsealed.length = 0;
    return true;
  }

  /** From the sealing. */
  onValueSealed(slot: number): void {
    const table = this.#table;
    table.jobPending[slot] = 0;
    if (table.phase[slot] === PHASE_ENDED) return table.release(slot);
    table.sealed[slot] = 1;
    if (table.phase[slot] === PHASE_SEAL) this.#write(slot);
  }

  invariants(): void {
    this.#timers.invariants();
    const table = this.#table;
    for (let slot = 0; slot < table.capacity; slot++) {
      const phase = table.phase[slot]!;
      if (phase === PHASE_FREE) continue;
      assert(table.keyRef[slot] !== NO_REF, 'an operation has a key');
      if (phase === PHASE_WRITE) assert(table.sealed[slot] === 1, 'nothing is written before it is sealed');
      if (phase === PHASE_WRITE) assert(table.counter[slot]! <= this.#ownCounter, 'own stamps are below own counter');
      if (phase === PHASE_OPEN) assert(table.jobPending[slot] === 1, 'an opening is at the sealing');
    }
  }
}

/** Whether a message of this type answers what the phase asks. */
function answers(type: number, phase: number): boolean {
  switch (phase) {
    case PHASE_READ:
    case PHASE_FETCH:
      return type === MESSAGE_READ_REPLY;
    case PHASE_STAMP:
      return type === MESSAGE_STAMP_REPLY;
    case PHASE_WRITE:
    case PHASE_WRITE_BACK:
      return type === MESSAGE_WRITE_REPLY;
    default:
      return false;
  }
}

function refusalOf(flags: number): Outcome {
  if ((flags & FLAG_NOT_PERMITTED) !== 0) return 'not-permitted';
  if ((flags & FLAG_CONFLICT) !== 0) return 'unreadable';
  return (flags & FLAG_HOST_FULL) !== 0 ? 'host-memory-full' : 'trusted-memory-full';
}
