import { assert } from '../../net/assert.ts';
import { alignUp, copyPadded, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Session } from '../../net/session.ts';
import type { GetFlow } from './get-flow.ts';
import { FLAG_NOT_PERMITTED, flagsOf, writeHead } from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { OperationTable } from './operation-table.ts';
import { OPERATION_SCAN_READ, PHASE_SCAN, PHASE_SCAN_READS } from './operation-table.ts';
import type { Outcome, ScanOutcome } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { FlowParts } from './rounds.ts';
import { ScanAnswer } from './scan-merge.ts';
import {
  FLAG_SCANS_OFF,
  FLAG_SCAN_AFTER,
  FLAG_SCAN_MORE,
  FLAG_SCAN_REVERSE,
  FLAG_SCAN_VALUES,
  MESSAGE_SCAN,
  SCAN_BYTES,
  SCAN_ENTRIES_MAX,
  WORD_ENTRY_COUNTER,
  WORD_ENTRY_RMW,
  WORD_ENTRY_TAG,
  WORD_ENTRY_WRITER,
  WORD_SCAN_END_BYTES,
  WORD_SCAN_ENTRIES,
  WORD_SCAN_START,
  WORD_SCAN_START_BYTES,
  entryEnvelopeBytes,
} from './scan-messages.ts';
import type { ScanRequest } from './scan-request.ts';
import type { Found, Item } from './scan-state.ts';
import { Scan } from './scan-state.ts';

/**
 * A page of a scan:
 *
 *     SCAN         a quorum's keys from the near end of the range on, the values of one member of it (scan-merge.ts)
 *     SCAN_READS   gets for keys that the members disagree on, and for values that did not come or did not open
 *
 * Whoever disagrees on a key, the get settles it and writes back what it finds, so that each key of the page is as
 * linearizable as a get of it; nothing is promised of two keys together. A value that came is opened as a get of it opens
 * its own, and goes on as that get does when it has been tampered with.
 *
 * Scans may allocate: their pages are objects, and they hold the datagrams that brought the answers until they end.
 */

/** Gets of scans that are under way at once; they have places of their own in the table. */
export const SCAN_READS_MAX = 128;

interface Read {
  readonly scan: Scan;
  readonly item: Item;
}

/** What the coordinator does for the flow. */
export interface ScanHost {
  /** A place in the table with the key in it, as for an operation; -1 when there is none now. */
  takeRead(key: Uint8Array, deadlineMs: number): number;
  /** Ends a get that nobody waits for any more. */
  dropRead(slot: number): void;
}

export class ScanFlow {
  readonly #parts: FlowParts;
  readonly #table: OperationTable;
  readonly #gets: GetFlow;
  readonly #messenger: Messenger;
  readonly #drops: DropCounters;
  readonly #host: ScanHost;
  readonly #scans = new Map<number, Scan>();
  readonly #reads = new Map<number, Read>();
  /** Scans with keys that wait for a place, first come first served. */
  #waiting: Scan[] = [];

  constructor(parts: FlowParts, gets: GetFlow, messenger: Messenger, drops: DropCounters, host: ScanHost) {
    this.#parts = parts;
    this.#table = parts.table;
    this.#gets = gets;
    this.#messenger = messenger;
    this.#drops = drops;
    this.#host = host;
    parts.rounds.scans = this;
  }

  /** Gets under way. */
  get readCount(): number {
    return this.#reads.size;
  }

  begin(slot: number, request: ScanRequest): void {
    this.#scans.set(slot, new Scan(slot, request));
    this.ask(slot);
  }

  // -- SCAN -------------------------------------------------------------------------------------------------------

  ask(slot: number): void {
    const { rounds } = this.#parts;
    const { picker } = rounds;
    const scan = this.#scans.get(slot)!;
    rounds.enter(slot, PHASE_SCAN);
    scan.answers = [];
    const members = rounds.firstMembers();
    const answering = members & ~picker.silentMask;
    this.#table.valueMember[slot] = picker.first(answering === 0 ? members : answering);
    rounds.askFirst(slot, members);
  }

  /** Of Rounds: writes the SCAN to one member. False when the session takes nothing now. */
  askOne(session: Session<Peer>, slot: number, withValues: boolean): boolean {
    const { request, start, end } = this.#scans.get(slot)!;
    const { isReverse, isAfterStart, wantsValues, keysMax, entriesMax = keysMax } = request;
    let startBytes = start.keyBytes;
    let endBytes = end.keyBytes;
    // Two long keys may be too much for a datagram: then the far one is left out, and merging keeps to it.
    if (!this.#messenger.fits(session, SCAN_BYTES + alignUp(startBytes) + alignUp(endBytes), 0)) {
      if (isReverse) startBytes = 0;
      else endBytes = 0;
    }
    const controlBytes = SCAN_BYTES + alignUp(startBytes) + alignUp(endBytes);
    if (!this.#messenger.append(session, controlBytes, 0)) return false;
    const { out } = this.#messenger;
    const { words } = out.control;
    const { word } = out;
    const flags =
      (withValues && wantsValues ? FLAG_SCAN_VALUES : 0) |
      (isReverse ? FLAG_SCAN_REVERSE : 0) |
      (isAfterStart && startBytes > 0 ? FLAG_SCAN_AFTER : 0);
    writeHead(words, word, MESSAGE_SCAN, flags, slot, this.#table.generation[slot]!);
    words[word + WORD_SCAN_START_BYTES] = startBytes;
    words[word + WORD_SCAN_END_BYTES] = endBytes;
    words[word + WORD_SCAN_ENTRIES] = Math.min(entriesMax, SCAN_ENTRIES_MAX);
    words[word + WORD_SCAN_ENTRIES + 1] = 0;
    copyPadded(words, word + WORD_SCAN_START, start.words, start.word, startBytes);
    copyPadded(words, word + WORD_SCAN_START + (alignUp(startBytes) >> 2), end.words, end.word, endBytes);
    return true;
  }

  /** A member's answer; undefined, or how the scan has ended. */
  onReply(
    slot: number,
    member: number,
    incoming: Incoming<Peer>,
    word: number,
    valueWord: number,
  ): ScanOutcome | undefined {
    const table = this.#table;
    const scan = this.#scans.get(slot)!;
    const { region } = incoming;
    const flags = flagsOf(region.words, word);
    const answer = new ScanAnswer(member, region, word, valueWord, (flags & FLAG_SCAN_MORE) !== 0);
    const { isReverse } = scan.request;
    if (!answer.isInOrder(isReverse) || !scan.isBegunBy(answer)) {
      this.#drops.count('malformed');
      return undefined;
    }
    table.replied[slot]! |= 1 << member;
    if ((flags & FLAG_NOT_PERMITTED) !== 0) return 'not-permitted';
    if ((flags & FLAG_SCANS_OFF) !== 0) {
      return this.#parts.rounds.refuse(slot, member) ? undefined : 'scans-off';
    }
    scan.answers.push(answer);
    if (scan.answers.length < this.#parts.quorum) return undefined;
    this.#parts.rounds.onQuorum(slot);
    scan.merge();
    return this.#readOn(scan);
  }

  // -- SCAN_READS -------------------------------------------------------------------------------------------------

  /** 'ok' when nothing is left to be read. */
  #readOn(scan: Scan): ScanOutcome | undefined {
    if (scan.unread.length === 0) return 'ok';
    this.#parts.rounds.enter(scan.slot, PHASE_SCAN_READS);
    this.#parts.rounds.waitForSealing(scan.slot);
    scan.unread.reverse();
    this.#waiting.push(scan);
    this.pump();
    return undefined;
  }

  /** Begins gets of keys that wait, as far as there are places. */
  pump(): void {
    if (this.#waiting.length === 0) return;
    for (const scan of this.#waiting) {
      while (scan.mayReadOn) {
        if (this.#reads.size >= SCAN_READS_MAX || !this.#beginRead(scan, scan.unread.at(-1)!)) return;
        scan.unread.pop();
      }
    }
    this.#waiting = this.#waiting.filter(({ unread }) => unread.length > 0);
  }

  #beginRead(scan: Scan, item: Item): boolean {
    const table = this.#table;
    const slot = this.#host.takeRead(item.key, table.deadlineMs[scan.slot]!);
    if (slot === -1) return false;
    this.#reads.set(slot, { scan, item });
    scan.readSlots.add(slot);
    if (item.found === undefined) this.#gets.read(slot);
    else this.#openFound(slot, scan.holders, item.found);
    return true;
  }

  #openFound(slot: number, holders: number, { member, region, entryWord, valueWord }: Found): void {
    const table = this.#table;
    const { words } = region;
    table.counter[slot] = readU53(words, entryWord + WORD_ENTRY_COUNTER);
    table.writerLow[slot] = words[entryWord + WORD_ENTRY_WRITER]!;
    table.writerHigh[slot] = words[entryWord + WORD_ENTRY_WRITER + 1]!;
    table.rmw[slot] = words[entryWord + WORD_ENTRY_RMW]!;
    const envelopeBytes = entryEnvelopeBytes(words, entryWord);
    table.keepEnvelope(slot, region, valueWord, envelopeBytes, words, entryWord + WORD_ENTRY_TAG);
    this.#gets.openFound(slot, member, holders);
  }

  /** A get has ended. Undefined when its scan has not, or was over before; else the scan, and how it ends. */
  onReadEnded(
    slot: number,
    outcome: Outcome,
    value: Uint8Array,
    valueBytes: number,
  ): { readonly slot: number; readonly outcome: ScanOutcome } | undefined {
    const read = this.#reads.get(slot);
    if (read === undefined) return undefined;
    const { scan, item } = read;
    this.#reads.delete(slot);
    scan.readSlots.delete(slot);
    if (outcome === 'ok') {
      scan.onFound(item, value, valueBytes);
    } else if (outcome !== 'absent') {
      scan.failedKey = item.key;
      return { slot: scan.slot, outcome };
    }
    this.pump();
    return scan.unread.length === 0 && scan.readSlots.size === 0 ? { slot: scan.slot, outcome: 'ok' } : undefined;
  }

  /** A scan has ended, and has given its place back: tells who asked for it. */
  onEnded(slot: number, outcome: ScanOutcome): void {
    const scan = this.#scans.get(slot)!;
    this.#scans.delete(slot);
    this.#waiting = this.#waiting.filter((waiting) => waiting !== scan);
    for (const readSlot of scan.readSlots) {
      this.#reads.delete(readSlot);
      this.#host.dropRead(readSlot);
    }
    scan.request.onScanEnded(outcome, outcome === 'ok' ? scan.page() : undefined, scan.failedKey);
  }

  invariants(): void {
    assert(this.#reads.size <= SCAN_READS_MAX, 'gets of scans have so many places');
    for (const [slot, { scan }] of this.#reads) {
      assert(this.#table.kind[slot] === OPERATION_SCAN_READ, 'a get of a scan is known as such');
      assert(scan.readSlots.has(slot) && this.#scans.get(scan.slot) === scan, 'its scan waits for it');
    }
    for (const [slot, scan] of this.#scans) {
      const isReading = this.#table.phase[slot] === PHASE_SCAN_READS;
      assert(isReading || this.#table.phase[slot] === PHASE_SCAN, 'a scan is in a phase of its own');
      const isWaiting = scan.readSlots.size > 0 || this.#waiting.includes(scan);
      assert(isReading === isWaiting, 'a scan waits for gets, under way or still to begin');
    }
  }
}
