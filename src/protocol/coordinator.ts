import { assert } from '../../net/assert.ts';
import { alignUp } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import type { HostMemory } from '../store/host-memory.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { GetCounters } from './get-flow.ts';
import { GetFlow } from './get-flow.ts';
import { MemberPicker } from './member-picker.ts';
import {
  FLAG_VALUE,
  KEY_BYTES_MAX,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  OPERATION_SLOTS_MAX,
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
  OPERATION_RMW,
  OPERATION_SCAN,
  OPERATION_SCAN_READ,
  OperationTable,
  PHASE_ENDED,
  PHASE_FETCH,
  PHASE_FREE,
  PHASE_OPEN,
  PHASE_PREPARE,
  PHASE_PULL,
  PHASE_READ,
  PHASE_RESOLVE,
  PHASE_SCAN,
  PHASE_SCAN_READS,
  PHASE_SEAL,
  PHASE_SPREAD,
  PHASE_STAMP,
  PHASE_WRITE,
  PHASE_WRITE_BACK,
} from './operation-table.ts';
import type { EndOperation, EndedStamp, OperationSink, Outcome, ScanOutcome } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { PullCounters } from './part-pulls.ts';
import type { PartTransferCounters } from './part-transfer.ts';
import { answers, isRmwAnswer } from './phase-answers.ts';
import type { Writer } from './put-flow.ts';
import { PutFlow } from './put-flow.ts';
import { hasMember, quorumOf } from './quorum.ts';
import { Requests } from './requests.ts';
import { MESSAGE_RESOLVE_REPLY } from './resolve-messages.ts';
import { RmwFlow } from './rmw-flow.ts';
import { RmwOperations } from './rmw-operation.ts';
import type { RmwRequest } from './rmw-request.ts';
import { RmwRequests } from './rmw-requests.ts';
import type { RmwCounters } from './rmw-steps.ts';
import type { Membership, RoundCounters } from './rounds.ts';
import { Rounds } from './rounds.ts';
import { SCAN_READS_MAX, ScanFlow } from './scan-flow.ts';
import { MESSAGE_SCAN_REPLY } from './scan-messages.ts';
import type { ScanRequest } from './scan-request.ts';
import { SPREADS_MAX, Spreads } from './spreads.ts';
import { TimerWheel } from './timer-wheel.ts';
import { WriteParts } from './write-parts.ts';

/**
 * Carries out operations against a quorum: multi-writer ABD (Lynch and Shvartsman 1997) with thrifty quorums. A pure
 * state machine: it reads no clock and no socket, and values are sealed and opened elsewhere, asynchronously.
 *
 * Here operations start, meet their answers and end. What they do in between is in get-flow.ts and put-flow.ts, whom they
 * ask and how often in rounds.ts, and their state in operation-table.ts. Whatever the network does, an operation ends by
 * quorum, deadline or cancellation.
 */
export interface CoordinatorOptions extends Membership, Writer {
  readonly capacity: number;
  /** What answers by parts may take of the process's receive buffer at once. */
  readonly pullBytesMax: number;
  /** Keys and values of operations in flight. */
  readonly memory: HostMemory;
  readonly messenger: Messenger;
  readonly sealing: ValueSealing;
  readonly drops: DropCounters;
  readonly sink: OperationSink;
  /** Whether it has places in its table for the gets of scans; default: not. */
  readonly takesScans?: boolean;
  /** Whether this process may write the key: whoever may not has replicas write back what it reads. Default: it may. */
  mayWrite?(words: Int32Array, keyWord: number, keyBytes: number): boolean;
  /** A message that answers no operation. */
  onOtherMessage(incoming: Incoming<Peer>, word: number): void;
}

export type CoordinatorCounters = RoundCounters & GetCounters & PartTransferCounters & PullCounters & RmwCounters;

/** A page of a scan has its range elsewhere (scan-flow.ts); its place in the table holds this. */
const SCAN_KEY = new Uint8Array(1);

export class Coordinator {
  readonly counters: CoordinatorCounters = {
    retransmissions: 0,
    hedges: 0,
    tampered: 0,
    repairs: 0,
    writeBacks: 0,
    resolves: 0,
    partsRepeated: 0,
    helped: 0,
    backOffs: 0,
  };
  /** During the sink's onOperationEnded(): see EndedStamp. */
  readonly ended: EndedStamp = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };
  readonly #options: CoordinatorOptions;
  readonly #table: OperationTable;
  readonly #timers: TimerWheel;
  readonly #rounds: Rounds;
  readonly #writeParts: WriteParts;
  readonly #gets: GetFlow;
  readonly #puts: PutFlow;
  readonly #rmws: RmwFlow;
  /** The answer of a read-modify-write, while it is told. */
  #answer = new Uint8Array(0);
  readonly #scans: ScanFlow | undefined;
  readonly #spreads: Spreads;
  #closed = false;
  /** Of the datagram at hand: its answers count; a round trip may be taken from it (one is enough). */
  #answersCount = false;
  #sampleDue = false;
  readonly #fire = (slot: number): void => this.#onTimer(slot);

  constructor(options: CoordinatorOptions) {
    assert(options.capacity <= OPERATION_SLOTS_MAX, 'operation slots are 16 bits on the wire');
    this.#options = options;
    const { sealing, drops } = options;
    const quorum = quorumOf(options.memberCount);
    const end: EndOperation = (slot, outcome) => this.#end(slot, outcome);
    const takesScans = options.takesScans === true;
    const scanReadsMax = takesScans ? SCAN_READS_MAX : 0;
    const spreadsMax = Math.min(SPREADS_MAX, OPERATION_SLOTS_MAX - options.capacity - scanReadsMax);
    assert(spreadsMax >= 0, 'there are slots for the gets of scans');
    const slotCount = options.capacity + spreadsMax + scanReadsMax;
    const table = new OperationTable(slotCount, options.memory);
    const requests = new Requests(table, options.messenger);
    const picker = new MemberPicker(options.memberCount);
    this.#table = table;
    this.#timers = new TimerWheel(slotCount);
    const writeParts = new WriteParts(table, requests, options.memberCount, this.counters, (member, attempt) =>
      picker.rtoMs(1 << member, attempt),
    );
    const operations = new RmwOperations();
    const rmwRequests = new RmwRequests(table, operations, requests, options.messenger, sealing, options);
    const { counters } = this;
    const rounds = new Rounds(
      table,
      requests,
      rmwRequests,
      writeParts,
      picker,
      this.#timers,
      options,
      quorum,
      counters,
      options.messenger,
    );
    this.#writeParts = writeParts;
    this.#rounds = rounds;
    this.#spreads = new Spreads(table, rounds, writeParts, spreadsMax);
    const parts = { table, requests, rounds, writeParts, membership: options, sealing, quorum, end };
    this.#gets = new GetFlow(parts, drops, this.counters, options.pullBytesMax, (slot) => this.#mayWrite(slot));
    this.#puts = new PutFlow(parts, options);
    this.#rmws = new RmwFlow(parts, operations, rmwRequests, options, this.#puts, this.#gets.pulls, counters);
    if (takesScans) this.#scans = new ScanFlow(parts, this.#gets, options.messenger, drops, this.#scanHost);
  }

  /** Operations that have not ended. */
  get active(): number {
    return this.#table.active - this.#spreads.count - (this.#scans?.readCount ?? 0);
  }

  get capacity(): number {
    return this.#options.capacity;
  }

  /** Operations that have ended for their callers, while their large values still go to some members. */
  get spreadCount(): number {
    return this.#spreads.count;
  }

  // -- starting and ending ----------------------------------------------------------------------------------------

  /** Starts an operation; its id, or -1 when table or memory is full. Key and value are copied. */
  startGet(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_GET, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    this.#gets.read(slot);
    return this.#operationId(slot);
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_PUT, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    const table = this.#table;
    const { sealing } = this.#options;
    if (!table.allocateEnvelope(slot, sealing.envelopeBytesOf(value.length))) {
      table.release(slot);
      return -1;
    }
    table.envelopeRegion[slot]!.bytes.set(value, table.envelopeWord[slot]! * 4 + sealing.valueOffsetOf(value.length));
    this.#puts.sealLater(slot);
    this.#puts.stamp(slot);
    return this.#operationId(slot);
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_DELETE, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    this.#table.tombstone[slot] = 1;
    this.#table.sealed[slot] = 1;
    this.#puts.stamp(slot);
    return this.#operationId(slot);
  }

  /**
   * A read-modify-write: atomic, and once, whatever becomes of messages. It ends 'ok', 'mismatch', 'not-an-integer',
   * 'overflow' or 'value-too-large' (of what its caller can't be told), or as a put does. Key and request are copied.
   */
  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number, nowMs: number): number {
    const slot = this.#start(OPERATION_RMW, token, key, deadlineMs, nowMs);
    if (slot === -1) return -1;
    if (!this.#rmws.begin(slot, request)) {
      this.#table.release(slot);
      return -1;
    }
    return this.#operationId(slot);
  }

  /** One page; its end is told to the request. */
  startScan(request: ScanRequest, deadlineMs: number, nowMs: number): number {
    assert(this.#scans !== undefined, 'a coordinator that takes no scans is given none');
    const slot = this.#start(OPERATION_SCAN, 0, SCAN_KEY, deadlineMs, nowMs);
    if (slot === -1) return -1;
    this.#scans.begin(slot, request);
    return this.#operationId(slot);
  }

  readonly #scanHost = {
    takeRead: (key: Uint8Array, deadlineMs: number): number => {
      const { nowMs } = this.#rounds;
      return this.#take(OPERATION_SCAN_READ, 0, key, deadlineMs - nowMs, nowMs);
    },
    dropRead: (slot: number): void => this.#release(slot),
  };

  #mayWrite(slot: number): boolean {
    const { memory } = this.#options;
    const keyRef = this.#table.keyRef[slot]!;
    const { words } = memory.region(keyRef);
    return this.#options.mayWrite?.(words, memory.wordOffset(keyRef), this.#table.keyBytes[slot]!) ?? true;
  }

  #operationId(slot: number): number {
    return this.#table.serial[slot]! * OPERATION_SLOTS_MAX + slot;
  }

  #start(kind: number, token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
    assert(key.length >= 1 && key.length <= KEY_BYTES_MAX, 'keys have 1 to 1,024 bytes');
    assert(Number.isFinite(deadlineMs), 'an operation has a deadline');
    this.#rounds.nowMs = nowMs;
    if (this.#closed || this.active >= this.capacity) return -1;
    return this.#take(kind, token, key, deadlineMs, nowMs);
  }

  #take(kind: number, token: number, key: Uint8Array, deadlineMs: number, nowMs: number): number {
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
    table.movesByParts[slot] = 0;
    table.token[slot] = token;
    table.keyRef[slot] = keyRef;
    table.keyBytes[slot] = key.length;
    table.envelopeBytes[slot] = 0;
    table.tombstone[slot] = 0;
    table.sealed[slot] = 0;
    table.deadlineMs[slot] = nowMs + deadlineMs;
    table.rereads[slot] = 0;
    table.serial[slot]! += 1;
    this.#rounds.picker.advanceTurn();
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

  /** Deadline, cancellation, close, no data key: a write that was sent may still take effect, or have taken it. */
  #giveUp(slot: number, reason: 'deadline' | 'aborted' | 'closed' | 'not-permitted'): void {
    const phase = this.#table.phase[slot]!;
    if (phase === PHASE_FREE || phase === PHASE_ENDED) return;
    if (phase === PHASE_SPREAD) return this.#release(slot);
    if (this.#isRmw(slot)) return this.#end(slot, this.#rmws.outcomeOfGivingUp(slot, reason));
    if (phase === PHASE_STAMP && reason === 'deadline') return this.#end(slot, this.#puts.stampRefusal(slot) ?? reason);
    this.#end(slot, phase === PHASE_WRITE && this.#table.asked[slot] !== 0 ? 'outcome-unknown' : reason);
  }

  #end(slot: number, outcome: Outcome): void {
    const { sink, sealing } = this.#options;
    const table = this.#table;
    const token = table.token[slot]!;
    const kind = table.kind[slot]!;
    this.#tellStamp(slot, outcome);
    if (this.#isRmw(slot)) return this.#endRmw(slot, token, outcome);
    let block = NO_REF;
    if (table.movesByParts[slot] === 1 && this.#spreads.isDue(slot, outcome)) this.#spreads.begin(slot);
    else {
      // The opened value may lie in it, and whoever is told may start operations.
      if (outcome === 'ok') block = table.takeBlock(slot);
      this.#release(slot);
    }
    // Last of all: the sink may start operations.
    if (kind >= OPERATION_SCAN) this.#onScanPartEnded(slot, kind, outcome);
    else sink.onOperationEnded(token, outcome, sealing.openedValue, outcome === 'ok' ? sealing.openedValueBytes : 0);
    if (block !== NO_REF) this.#options.memory.free(block);
  }

  #endRmw(slot: number, token: number, outcome: Outcome): void {
    const answer = this.#rmws.describe(slot, outcome, this.ended);
    const answerBytes = this.ended.hasValue ? answer.length : 0;
    if (answerBytes > this.#answer.length) this.#answer = new Uint8Array(answerBytes);
    // Its block is given back before the sink is told, who may start operations.
    this.#answer.set(answer.subarray(0, answerBytes));
    if (this.#rmws.isSpreading(slot, outcome) && this.#spreads.isDue(slot, outcome)) this.#spreads.begin(slot);
    else this.#release(slot);
    this.#rmws.leave(slot);
    this.#options.sink.onOperationEnded(token, outcome, this.#answer, answerBytes);
  }

  #isRmw(slot: number): boolean {
    return this.#table.kind[slot] === OPERATION_RMW;
  }

  #tellStamp(slot: number, outcome: Outcome): void {
    const table = this.#table;
    const { ended } = this;
    ended.counter = table.counter[slot]!;
    ended.writerHigh = table.writerHigh[slot]!;
    ended.writerLow = table.writerLow[slot]!;
    ended.rmw = table.rmw[slot]!;
    ended.hasValue = outcome === 'ok' && table.kind[slot] === OPERATION_GET;
  }

  #onScanPartEnded(slot: number, kind: number, outcome: Outcome): void {
    if (kind === OPERATION_SCAN) return this.#scans!.onEnded(slot, outcome);
    const { sealing } = this.#options;
    const valueBytes = outcome === 'ok' ? sealing.openedValueBytes : 0;
    const ended = this.#scans!.onReadEnded(slot, outcome, sealing.openedValue, valueBytes);
    if (ended !== undefined) this.#endScan(ended.slot, ended.outcome);
  }

  #endScan(slot: number, outcome: ScanOutcome): void {
    this.#release(slot);
    this.#scans!.onEnded(slot, outcome);
  }

  /** Gives the slot back, when the sealing has given back its buffers. */
  #release(slot: number): void {
    const table = this.#table;
    this.#rounds.stop(slot);
    if (table.movesByParts[slot] === 1) {
      if (table.phase[slot] === PHASE_SPREAD) this.#spreads.onOver();
      this.#writeParts.stop(slot);
      this.#gets.pulls.stop(slot);
    }
    if (table.jobPending[slot] === 1) table.phase[slot] = PHASE_ENDED;
    else this.#free(slot);
  }

  #free(slot: number): void {
    if (this.#isRmw(slot)) this.#rmws.clear(slot);
    this.#table.release(slot);
  }

  // -- answers ----------------------------------------------------------------------------------------------------

  onMessages(incoming: Incoming<Peer>, nowMs: number): void {
    this.#rounds.nowMs = nowMs;
    const { words } = incoming.region;
    const { wordEnd, valueWordEnd } = incoming;
    const member = incoming.session.peer.identity.memberIndex;
    this.#rounds.picker.onHeard(member, nowMs);
    this.#answersCount = incoming.epoch === this.#options.epoch() && hasMember(this.#options.readyMask(), member);
    this.#sampleDue = true;
    let { word, valueWord } = incoming;
    let isSpent = true;
    while (word < wordEnd) {
      const byteCount = messageBytes(words, word, wordEnd, (valueWordEnd - valueWord) * 4);
      if (byteCount < 0) return this.#options.drops.count('malformed');
      this.#onAnswer(incoming, member, word, valueWord);
      isSpent &&= isCopied(words, word);
      valueWord += alignUp(messageEnvelopeBytes(words, word)) >> 2;
      word += byteCount >> 2;
    }
    incoming.isSpent = isSpent;
  }

  #onAnswer(incoming: Incoming<Peer>, member: number, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const table = this.#table;
    const type = typeOf(words, word);
    if (type !== MESSAGE_READ_REPLY && type !== MESSAGE_STAMP_REPLY && type !== MESSAGE_WRITE_REPLY) {
      return this.#onRareAnswer(incoming, member, word, valueWord);
    }
    const slot = slotOf(words, word);
    if (!this.#isExpected(incoming, member, type, slot, word)) return;
    if (this.#isRmw(slot) && table.phase[slot] !== PHASE_SPREAD) {
      return this.#rmws.onPartsReply(slot, member, flagsOf(words, word));
    }
    if (this.#sampleDue && hasMember(table.sampled[slot]!, member)) {
      this.#sampleDue = false;
      this.#rounds.picker.onRoundTrip(member, this.#rounds.nowMs - table.phaseMs[slot]!);
    }
    table.replied[slot]! |= 1 << member;
    if (type === MESSAGE_READ_REPLY) this.#gets.onReadReply(slot, member, incoming, word, valueWord);
    else if (type === MESSAGE_STAMP_REPLY) this.#puts.onStampReply(slot, member, words, word);
    else if (table.phase[slot] === PHASE_WRITE) this.#puts.onWriteReply(slot, member, flagsOf(words, word));
    else if (table.phase[slot] === PHASE_WRITE_BACK) this.#gets.onWriteBackReply(slot, member, flagsOf(words, word));
    else {
      if (this.#isRmw(slot)) this.#rmws.onSpread(slot, member);
      if (this.#spreads.onReply(slot, member)) this.#release(slot);
    }
  }

  /** Answers about parts, and what answers no operation. */
  #onRareAnswer(incoming: Incoming<Peer>, member: number, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const type = typeOf(words, word);
    if (
      type !== MESSAGE_READ_PART_REPLY &&
      type !== MESSAGE_WRITE_PROGRESS &&
      type !== MESSAGE_SCAN_REPLY &&
      type !== MESSAGE_RESOLVE_REPLY &&
      !isRmwAnswer(type)
    ) {
      return this.#options.onOtherMessage(incoming, word);
    }
    const slot = slotOf(words, word);
    if (!this.#isExpected(incoming, member, type, slot, word)) return;
    if (isRmwAnswer(type)) return this.#onRmwAnswer(slot, incoming, member, word, valueWord);
    if (type === MESSAGE_SCAN_REPLY) {
      const outcome = this.#scans!.onReply(slot, member, incoming, word, valueWord);
      if (outcome !== undefined) this.#endScan(slot, outcome);
    } else if (type === MESSAGE_RESOLVE_REPLY) this.#gets.onResolveReply(slot, member, words, word);
    else if (type === MESSAGE_WRITE_PROGRESS) this.#onProgress(slot, member, words, word);
    else this.#gets.pulls.onPartReply(slot, incoming, word, valueWord);
  }

  #onRmwAnswer(slot: number, incoming: Incoming<Peer>, member: number, word: number, valueWord: number): void {
    const table = this.#table;
    if (hasMember(table.sampled[slot]!, member)) {
      this.#rounds.picker.onRoundTrip(member, this.#rounds.nowMs - table.phaseMs[slot]!);
    }
    table.replied[slot]! |= 1 << member;
    this.#rmws.onAnswer(slot, member, incoming, word, valueWord);
  }

  /** Whether it is the first answer of the member to what the operation asks now. If not, that was seen to. */
  #isExpected(incoming: Incoming<Peer>, member: number, type: number, slot: number, word: number): boolean {
    const table = this.#table;
    if (!this.#answersCount) {
      this.#options.drops.count('wrong-epoch');
      return false;
    }
    if (
      slot >= table.capacity ||
      table.generation[slot] !== incoming.region.words[word + 1] ||
      // Parts come behind an answer, and many to a question.
      (hasMember(table.replied[slot]!, member) && type !== MESSAGE_READ_PART_REPLY) ||
      !answers(type, table.phase[slot]!)
    ) {
      this.#options.drops.count('late-answer');
      return false;
    }
    // Each phase counts answers of one epoch only.
    if (table.epoch[slot] === incoming.epoch) return true;
    this.#restartPhase(slot);
    return false;
  }

  /** A member says which parts it has. */
  #onProgress(slot: number, member: number, words: Int32Array, word: number): void {
    const { nowMs } = this.#rounds;
    if (!this.#writeParts.onProgress(slot, member, words, word, nowMs)) return;
    // The others go on, so that the operation's own time-out never comes for one that is silent.
    this.#writeParts.onSilence(slot, nowMs);
    if (this.#isRmw(slot) && this.#rmws.awaitsOthers(slot)) return;
    this.#table.attempt[slot] = 0;
    this.#rounds.waitForTimeout(slot);
  }

  /** The epoch has changed: what was gathered in this phase does not count; phases before it stand. */
  #restartPhase(slot: number): void {
    if (this.#isRmw(slot) && this.#table.phase[slot] !== PHASE_SPREAD) return this.#rmws.restart(slot);
    switch (this.#table.phase[slot]!) {
      case PHASE_READ:
      case PHASE_FETCH:
      case PHASE_PULL:
        return this.#gets.read(slot);
      case PHASE_SPREAD:
        return this.#release(slot);
      case PHASE_STAMP:
        return this.#puts.stamp(slot);
      case PHASE_WRITE_BACK:
        this.#table.holders[slot] = 0;
        return this.#gets.writeBack(slot);
      case PHASE_RESOLVE:
        return this.#gets.resolve(slot);
      case PHASE_SCAN:
        return this.#scans!.ask(slot);
      default:
        return this.#puts.write(slot);
    }
  }

  // -- the turn ---------------------------------------------------------------------------------------------------

  /** When tick() is to be called next; Infinity when nothing is in flight. */
  get nextTickMs(): number {
    return Math.min(this.#timers.nextDueMs, this.#writeParts.nextPumpMs);
  }

  /** Retransmissions, hedges and deadlines that are due; then what sessions did not take before. */
  tick(nowMs: number): void {
    this.#rounds.nowMs = nowMs;
    this.#timers.advance(nowMs, this.#fire);
    this.#rounds.sendUnsent();
    this.pump();
  }

  /** Goes on with what is sent and asked for by parts, as far as credit and window allow. */
  pump(): void {
    this.#writeParts.pump(this.#rounds.nowMs);
    this.#gets.pulls.pump();
    this.#scans?.pump();
  }

  #onTimer(slot: number): void {
    const table = this.#table;
    if (this.#rounds.nowMs >= table.deadlineMs[slot]!) return this.#giveUp(slot, 'deadline');
    const phase = table.phase[slot]!;
    if (phase >= PHASE_PREPARE) return this.#rmws.onTimer(slot);
    if (phase === PHASE_OPEN || phase === PHASE_SEAL || phase === PHASE_SCAN_READS)
      return this.#rounds.waitForSealing(slot);
    if (this.#rounds.isHeldBack(slot)) return this.#rounds.waitForTimeout(slot);
    if (table.movesByParts[slot] === 1) {
      // Parts have a time-out of their own.
      const overdueMs = this.#writeParts.overdueMs(slot);
      if (overdueMs !== Infinity && this.#rounds.nowMs < overdueMs)
        return this.#rounds.wait(slot, overdueMs - this.#rounds.nowMs);
    }
    this.#rounds.onSilence(slot);
    if (phase === PHASE_PULL) return this.#gets.pulls.onSilence(slot);
    if (phase === PHASE_SPREAD) {
      if (this.#spreads.onSilence(slot)) this.#release(slot);
      return;
    }
    if (phase === PHASE_FETCH && this.#gets.onFetchSilence(slot)) return;
    this.#rounds.askAgain(slot);
  }

  /**
   * Hands new values to the sealing, true when there were any: after the turn's datagrams have left, so that it overlaps
   * with the first round.
   */
  submitSeals(): boolean {
    return this.#puts.submitSeals();
  }

  /** From the sealing. */
  onValueSealed(slot: number, sealed: boolean): void {
    if (!this.#isWanted(slot)) return;
    // There is no data key for the pair. Nothing was sent.
    if (!sealed) return this.#giveUp(slot, 'not-permitted');
    if (this.#isRmw(slot)) this.#rmws.onValueSealed(slot);
    else this.#puts.onValueSealed(slot);
  }

  /** From the sealing. */
  onValueOpened(slot: number, opened: boolean): void {
    if (!this.#isWanted(slot)) return;
    if (this.#isRmw(slot)) this.#rmws.onValueOpened(slot, opened);
    else this.#gets.onValueOpened(slot, opened);
  }

  /** A job is done; false when its operation has ended meanwhile: the slot is given back only now. */
  #isWanted(slot: number): boolean {
    const table = this.#table;
    table.jobPending[slot] = 0;
    if (table.phase[slot] !== PHASE_ENDED) return true;
    this.#free(slot);
    return false;
  }

  invariants(): void {
    this.#timers.invariants();
    this.#writeParts.invariants();
    this.#gets.pulls.invariants();
    this.#scans?.invariants();
    const table = this.#table;
    let spreadCount = 0;
    for (let slot = 0; slot < table.capacity; slot++) {
      const phase = table.phase[slot]!;
      if (phase === PHASE_SPREAD) spreadCount++;
      if (phase === PHASE_FREE) continue;
      assert(table.keyRef[slot] !== NO_REF, 'an operation has a key');
      if (phase === PHASE_WRITE) assert(table.sealed[slot] === 1, 'nothing is written before it is sealed');
      if (phase === PHASE_WRITE)
        assert(table.counter[slot]! <= this.#puts.ownCounter, 'own stamps are below own counter');
      if (this.#isRmw(slot) && phase !== PHASE_ENDED) this.#rmws.invariants(slot);
      if (phase === PHASE_OPEN) assert(table.jobPending[slot] === 1, 'an opening is at the sealing');
    }
    assert(spreadCount === this.#spreads.count, 'operations that spread are counted');
  }
}

/** Of what others say the value stays in the datagram, until it is opened. */
function isCopied(words: Int32Array, word: number): boolean {
  const type = typeOf(words, word);
  if (type === MESSAGE_READ_REPLY) return (flagsOf(words, word) & FLAG_VALUE) === 0;
  return (
    type === MESSAGE_READ_PART_REPLY ||
    type === MESSAGE_STAMP_REPLY ||
    type === MESSAGE_WRITE_REPLY ||
    type === MESSAGE_WRITE_PROGRESS
  );
}
