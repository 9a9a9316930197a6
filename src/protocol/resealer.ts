import { VALUE_CHUNK_BYTES } from '../../workers/sealing.ts';
import { RECORD_ENTRY, RECORD_ENVELOPE_BYTES, RECORD_REF } from '../store/consensus-records.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import type { DataKeyRing } from '../trust/data-key-ring.ts';
import { KEY_BYTES_MAX } from './messages.ts';
import type { Outcome } from './outcome.ts';

/**
 * Takes values away from data keys that are retiring: goes through the store, pass by pass, and seals anew what lies under
 * one, as a read-modify-write that leaves the value as it is. Each member begins at a part of its own and goes all the way
 * round, so that they share the work; what another has done is found done.
 *
 * A pass that found nothing under a key is what CAS waits for (trust/chain/key-rotation.ts). Both kinds of place are looked
 * at: the value of each key, and proposals that were accepted and are not decided yet. Which key a value lies under is read
 * from host memory. A host that writes another id there makes a copy that does not open: it can lose values so, as it always
 * can, one member's copies of them, and it can hold a rotation up.
 *
 * Clients come first. Values are started in bursts, a large one counting as many, and how long a burst is on its way says how busy all members are with
 * clients' work: the next one waits so many times as long.
 */
export interface ResealerOptions {
  readonly store: Store;
  readonly dataKeys: DataKeyRing;
  readonly memberIndex: number;
  readonly memberCount: number;
  /** Values sealed anew a second, at most; each 16 KiB of a larger one count as one. */
  readonly valuesPerSecond: number;
  /** Starts the read-modify-write; false when there is no room for it now. */
  start(key: Uint8Array, nowMs: number): boolean;
}

/** For people. */
export interface ResealFigures {
  /** Values under keys that are retiring which the last whole pass found and left there. */
  readonly left: number;
  /** Those of them for which no trusted memory is left: they keep their key in use until they are written anew. */
  readonly noMemory: number;
  /** Since the start. */
  readonly resealed: number;
  /** Attempts that came to nothing; they are made again. */
  readonly failed: number;
}

/** Operations of the coordinator with this token are this one's. */
export const RESEAL_TOKEN = 2 ** 24;
/** Looked at a millisecond, and at once: places of the index, a value counts as so many. It is 1 % of the loop. */
const PLACES_PER_MS = 1_000;
const PLACES_MAX = 20_000;
/** An empty place takes 1 or 2 ns, a value with its cache misses 150. */
const VALUE_PLACES = 16;
/** Values started together share datagrams; more at once would hold up everything else. */
const BURST_MAX = 32;
const BURSTS_PER_SECOND = 10;
/** On its way for this part of the time at most; three members, so all of them together for three times that. */
const BURST_REST_FACTOR = 7;
/** However busy members are, a rotation comes to an end: that is 20 values a second, of 200. */
const BURST_WAIT_MS_MAX = 1_000;
/** After a pass that found nothing; after one that could do nothing about what it found. */
const REST_MS = 1_000;
const STUCK_REST_MS = 5_000;

interface Found {
  count: number;
  /** The key was closing when the pass began: no new value can have come behind it. */
  readonly wasClosing: boolean;
}

interface Pass {
  /** By data key that is retiring. */
  readonly found: ReadonlyMap<number, Found>;
  slotsDone: number;
  /** Full records with numbers below it are still to be looked at, when all slots are done; they come and go meanwhile. */
  recordsLeft: number;
  noMemory: number;
  /** Of what was found, what is found there no more. */
  done: number;
}

export class Resealer {
  readonly #options: ResealerOptions;
  readonly #burst: number;
  /** Of the burst under way; below 0 after a value that is larger than a burst, which is one by itself. */
  #burstLeft = 0;
  #nextBurstMs = 0;
  #burstBeganMs = 0;
  /** Some of it has not ended. */
  #isBurstOnItsWay = false;
  #pass: Pass | undefined;
  /** Of the ring when a pass last began, or there was nothing to do. */
  #generation = -1;
  #lookedMs = 0;
  #nextPassMs = 0;
  #inFlight = 0;
  #left = 0;
  #noMemory = 0;
  #resealed = 0;
  #failed = 0;
  readonly #keyWords = new Int32Array(KEY_BYTES_MAX / 4);
  readonly #keyBytes = new Uint8Array(this.#keyWords.buffer);

  constructor(options: ResealerOptions) {
    this.#options = options;
    this.#burst = Math.min(BURST_MAX, Math.max(1, Math.floor(options.valuesPerSecond / BURSTS_PER_SECOND)));
  }

  /** Undefined when there is nothing to tell. */
  get figures(): ResealFigures | undefined {
    if (this.#pass === undefined && this.#resealed === 0 && this.#left === 0) return undefined;
    return {
      left: this.#left,
      // The pass that meets the end of the memory may take long.
      noMemory: Math.max(this.#noMemory, this.#pass?.noMemory ?? 0),
      resealed: this.#resealed,
      failed: this.#failed,
    };
  }

  /** To be called every few milliseconds. */
  tick(nowMs: number): void {
    const { generation } = this.#options.dataKeys;
    // A key that is closing is looked for from the beginning on: what was found before counts for nothing.
    if (generation !== this.#generation || (this.#pass === undefined && nowMs >= this.#nextPassMs)) this.#begin(nowMs);
    const pass = this.#pass;
    if (pass === undefined) return;
    this.#timeBurst(nowMs);
    const placeCount = Math.min(PLACES_MAX, Math.floor((nowMs - this.#lookedMs) * PLACES_PER_MS));
    // What is found by a look is started together: a look at the few places that each turn has time for finds values one by one.
    if (placeCount === 0 || !this.#mayStart(nowMs)) return;
    this.#lookedMs = nowMs;
    this.#burstLeft = this.#burst;
    for (let left = placeCount; left > 0; ) {
      if (this.#isOver(pass)) {
        if (this.#inFlight === 0) this.#end(pass, nowMs);
        break;
      }
      const taken = this.#look(pass, nowMs);
      if (taken === 0) break;
      left -= taken;
    }
    const startedCount = this.#burst - this.#burstLeft;
    if (startedCount === 0) return;
    this.#burstBeganMs = nowMs;
    this.#isBurstOnItsWay = true;
    this.#nextBurstMs = nowMs + (startedCount / this.#options.valuesPerSecond) * 1_000;
  }

  #begin(nowMs: number): void {
    const { dataKeys } = this.#options;
    const ids = dataKeys.retiringIds;
    this.#generation = dataKeys.generation;
    this.#lookedMs = nowMs;
    this.#nextPassMs = nowMs + REST_MS;
    this.#pass = undefined;
    if (ids.length === 0) {
      this.#left = 0;
      this.#noMemory = 0;
      return;
    }
    this.#pass = {
      found: new Map(ids.map((id) => [id, { count: 0, wasClosing: dataKeys.isClosing(id) }])),
      slotsDone: 0,
      recordsLeft: Infinity,
      noMemory: 0,
      done: 0,
    };
  }

  /** All was looked at. The pass ends with the last of its operations. */
  #isOver(pass: Pass): boolean {
    const { store } = this.#options;
    return pass.slotsDone === store.slotCount && Math.min(pass.recordsLeft, store.consensus.fullCount) === 0;
  }

  #end(pass: Pass, nowMs: number): void {
    let count = 0;
    for (const [id, found] of pass.found) {
      this.#options.dataKeys.noteUse(id, found.count, found.wasClosing);
      count += found.count;
    }
    this.#left = count - pass.done;
    this.#noMemory = pass.noMemory;
    this.#pass = undefined;
    this.#nextPassMs = nowMs + (count === 0 ? REST_MS : pass.done === 0 ? STUCK_REST_MS : 0);
  }

  /** One place, and what that counts as; 0: what was found there can't be begun now. */
  #look(pass: Pass, nowMs: number): number {
    const { store, memberIndex, memberCount } = this.#options;
    if (pass.slotsDone === store.slotCount) {
      // From the last one down: only the last one ever moves, so none is passed over. Compact ones have accepted nothing.
      const record = Math.min(pass.recordsLeft, store.consensus.fullCount) - 1;
      const words = store.consensus.words(record);
      const word = store.consensus.wordOffset(record);
      const ref = words[word + RECORD_REF]!;
      const envelopeBytes = words[word + RECORD_ENVELOPE_BYTES]!;
      if (ref !== NO_REF && !this.#take(pass, words[word + RECORD_ENTRY]!, ref, envelopeBytes, nowMs)) return 0;
      pass.recordsLeft = record;
      return VALUE_PLACES;
    }
    const first = Math.floor((store.slotCount * memberIndex) / memberCount);
    const entry = store.entryInSlot((first + pass.slotsDone) % store.slotCount);
    const ref = entry === NO_ENTRY ? NO_REF : store.hostRef(entry);
    if (ref !== NO_REF && !this.#take(pass, entry, ref, store.envelopeBytes(entry), nowMs)) return 0;
    pass.slotsDone++;
    return entry === NO_ENTRY ? 1 : VALUE_PLACES;
  }

  #take(pass: Pass, entry: number, ref: number, envelopeBytes: number, nowMs: number): boolean {
    const { store } = this.#options;
    const found = pass.found.get(store.hostRegion(ref).words[store.hostWord(ref)]! >>> 0);
    if (found === undefined) return true;
    const valueCount = Math.ceil(envelopeBytes / VALUE_CHUNK_BYTES);
    const isFirst = this.#burstLeft === this.#burst;
    if (this.#burstLeft < valueCount && !isFirst) return false;
    store.copyKey(entry, this.#keyWords, 0);
    if (!this.#options.start(this.#keyBytes.subarray(0, store.keyBytes(entry)), nowMs)) return false;
    this.#inFlight++;
    this.#burstLeft -= valueCount;
    found.count++;
    return true;
  }

  /** A burst begins when it is time. Some operations that don't end hold up nothing for long, many do. */
  #mayStart(nowMs: number): boolean {
    if (nowMs < this.#nextBurstMs || this.#inFlight > BURST_MAX) return false;
    return !this.#isBurstOnItsWay || nowMs >= this.#burstBeganMs + BURST_WAIT_MS_MAX;
  }

  /** Time of the burst whose last operation has ended. */
  #timeBurst(nowMs: number): void {
    if (!this.#isBurstOnItsWay || this.#inFlight > 0) return;
    this.#isBurstOnItsWay = false;
    const tookMs = nowMs - this.#burstBeganMs;
    const restMs = Math.min(BURST_WAIT_MS_MAX, tookMs * (1 + BURST_REST_FACTOR));
    this.#nextBurstMs = Math.max(this.#nextBurstMs, this.#burstBeganMs + restMs);
  }

  onOperationEnded(outcome: Outcome): void {
    this.#inFlight--;
    if (outcome === 'ok') this.#resealed++;
    // 'mismatch': another member was first, or the value is gone.
    else if (outcome !== 'mismatch') this.#failed++;
    if (this.#pass !== undefined && outcome === 'trusted-memory-full') this.#pass.noMemory++;
    if (this.#pass !== undefined && (outcome === 'ok' || outcome === 'mismatch')) this.#pass.done++;
  }
}
