import { assert } from '../../net/assert.ts';
import { alignUp, copyWords } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import { DATAGRAM_RECORD_BYTES } from '../../net/limits.ts';
import { FLAG_GONE, PARTS_MAX, WORD_PART_REPLY_BYTES, WORD_PART_REPLY_OFFSET, flagsOf } from './messages.ts';
import type { OperationTable } from './operation-table.ts';
import { PHASE_PULL } from './operation-table.ts';
import { PartTracker } from './part-tracker.ts';
import type { Peer } from './peer.ts';
import type { Requests } from './requests.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * The PULL phase of a get: a value larger than a datagram is asked for by parts, from the member that said it has it, and
 * put together in a block of the operation's own. The answers land in this process's receive buffer, so what is asked
 * for at once, by all gets together, keeps within a window of it, which is halved on loss and grows back as parts come.
 */
export interface PullCounters {
  /** Parts asked for again because they did not come. */
  partsRepeated: number;
}

/** What a get asks for by parts. */
class Pull {
  slot = -1;
  partBytes = 0;
  readonly tracker = new PartTracker();
}

/** Silence of a member for so many time-outs in a row: the get begins again, and asks another one. */
const ATTEMPTS_MAX = 2;

export class PullFlow {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #requests: Requests;
  readonly #membership: Membership;
  readonly #drops: DropCounters;
  readonly #counters: PullCounters;
  /** Begins the get again. */
  readonly #restart: (slot: number) => void;
  /** All parts are there. */
  readonly #onWhole: (slot: number) => void;
  readonly #bySlot: (Pull | undefined)[];
  readonly #active: Pull[] = [];
  readonly #free: Pull[] = [];
  /** Where the next turn begins. */
  #turn = 0;
  readonly #windowBytesMax: number;
  #windowBytes: number;
  /** Asked for and neither come nor taken as lost, with what the kernel adds to a datagram. */
  #underWayBytes = 0;

  /** @param windowBytesMax Of the process's receive buffer. */
  constructor(
    parts: FlowParts,
    drops: DropCounters,
    counters: PullCounters,
    windowBytesMax: number,
    restart: (slot: number) => void,
    onWhole: (slot: number) => void,
  ) {
    this.#table = parts.table;
    this.#rounds = parts.rounds;
    this.#membership = parts.membership;
    this.#requests = parts.requests;
    this.#drops = drops;
    this.#counters = counters;
    this.#windowBytesMax = windowBytesMax;
    this.#windowBytes = windowBytesMax;
    this.#restart = restart;
    this.#onWhole = onWhole;
    this.#bySlot = Array.from<Pull | undefined>({ length: parts.table.capacity });
  }

  /** Stamp, tag, length and the member to ask stand in the table. */
  begin(slot: number): void {
    const table = this.#table;
    const member = table.valueMember[slot]!;
    const session = this.#membership.session(member);
    this.#rounds.enter(slot, PHASE_PULL);
    table.asked[slot] = 1 << member;
    this.#rounds.waitForTimeout(slot);
    const envelopeBytes = table.envelopeBytes[slot]!;
    const partBytes = session === undefined ? 0 : this.#requests.readPartBytes(session);
    // Without session or memory the timer looks again.
    if (partBytes === 0 || Math.ceil(envelopeBytes / partBytes) > PARTS_MAX) return;
    if (!table.allocateEnvelope(slot, envelopeBytes)) return;
    const pull = this.#free.pop() ?? new Pull();
    assert(pull.slot === -1, 'a free pull is clean');
    pull.slot = slot;
    table.movesByParts[slot] = 1;
    pull.partBytes = partBytes;
    pull.tracker.start(Math.ceil(envelopeBytes / partBytes));
    this.#bySlot[slot] = pull;
    this.#active.push(pull);
  }

  onPartReply(slot: number, incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const table = this.#table;
    const pull = this.#bySlot[slot];
    const member = incoming.session.peer.identity.memberIndex;
    if (pull === undefined || member !== table.valueMember[slot]) return this.#drops.count('late-answer');
    // Overwritten meanwhile.
    if ((flagsOf(words, word) & FLAG_GONE) !== 0) return this.#restart(slot);
    const byteOffset = words[word + WORD_PART_REPLY_OFFSET]! >>> 0;
    const byteCount = words[word + WORD_PART_REPLY_BYTES]!;
    const part = byteOffset / pull.partBytes;
    if (!Number.isInteger(part) || part >= pull.tracker.partCount || byteCount !== this.#partLength(pull, part)) {
      return this.#drops.count('malformed');
    }
    const wasUnderWay = pull.tracker.isUnderWay(part);
    if (!pull.tracker.onArrived(part)) return this.#drops.count('late-answer');
    if (wasUnderWay) this.#underWayBytes -= windowBytesOf(pull);
    const targetWord = table.envelopeWord[slot]! + (byteOffset >> 2);
    copyWords(table.envelopeRegion[slot]!.words, targetWord, words, valueWord, alignUp(byteCount) >> 2);
    this.#windowBytes = Math.min(this.#windowBytesMax, this.#windowBytes + windowBytesOf(pull));
    this.#onLost(pull, pull.tracker.takeLost());
    table.attempt[slot] = 0;
    if (!pull.tracker.isComplete) return this.#rounds.waitForTimeout(slot);
    this.stop(slot);
    this.#onWhole(slot);
  }

  /** Nothing has come for a time-out. */
  onSilence(slot: number): void {
    const table = this.#table;
    const pull = this.#bySlot[slot];
    table.attempt[slot]! += 1;
    if (pull === undefined) return this.#restart(slot);
    if (table.attempt[slot]! > ATTEMPTS_MAX) {
      // Whatever else it answers: its parts do not come.
      this.#rounds.picker.onOverdue(1 << table.valueMember[slot]!, Infinity);
      return this.#restart(slot);
    }
    if (table.attempt[slot] === 1) this.#askAgain(pull, pull.tracker.probe());
    else this.#onLost(pull, pull.tracker.giveUp());
    this.#rounds.waitForTimeout(slot);
  }

  #onLost(pull: Pull, partCount: number): void {
    if (partCount === 0) return;
    this.#askAgain(pull, partCount);
    this.#windowBytes = Math.max(windowBytesOf(pull), this.#windowBytes / 2);
  }

  #askAgain(pull: Pull, partCount: number): void {
    this.#counters.partsRepeated += partCount;
    this.#underWayBytes -= partCount * windowBytesOf(pull);
  }

  /** The operation pulls no more. What it had received stays in its block. */
  stop(slot: number): void {
    const pull = this.#bySlot[slot];
    if (pull === undefined) return;
    this.#underWayBytes -= pull.tracker.underWayCount * windowBytesOf(pull);
    this.#bySlot[slot] = undefined;
    pull.slot = -1;
    this.#active.splice(this.#active.indexOf(pull), 1);
    this.#free.push(pull);
  }

  /** Asks for what the window allows, one part of each get a round. */
  pump(): void {
    const count = this.#active.length;
    if (count === 0) return;
    this.#turn = (this.#turn + 1) % count;
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (let i = 0; i < count; i++) if (this.#askOne(this.#active[(this.#turn + i) % count]!)) isMoving = true;
    }
  }

  #askOne(pull: Pull): boolean {
    const part = pull.tracker.next();
    const session = this.#membership.session(this.#table.valueMember[pull.slot]!);
    if (part === -1 || session === undefined) return false;
    const bytes = windowBytesOf(pull);
    if (this.#underWayBytes > 0 && this.#underWayBytes + bytes > this.#windowBytes) return false;
    if (!this.#requests.readPart(session, pull.slot, part * pull.partBytes, this.#partLength(pull, part))) return false;
    pull.tracker.onSent(part);
    this.#underWayBytes += bytes;
    return true;
  }

  #partLength(pull: Pull, part: number): number {
    return Math.min(pull.partBytes, this.#table.envelopeBytes[pull.slot]! - part * pull.partBytes);
  }

  invariants(): void {
    let underWayBytes = 0;
    for (const pull of this.#active) {
      assert(this.#bySlot[pull.slot] === pull, 'an active pull is listed under its slot');
      assert(this.#table.phase[pull.slot] === PHASE_PULL, 'only a get in PULL has parts under way');
      pull.tracker.invariants();
      underWayBytes += pull.tracker.underWayCount * windowBytesOf(pull);
    }
    assert(underWayBytes === this.#underWayBytes, 'what is under way is counted');
  }
}

/** What a part takes of the receive buffer at most. */
function windowBytesOf(pull: Pull): number {
  return pull.partBytes + DATAGRAM_RECORD_BYTES;
}
