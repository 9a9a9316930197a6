import type { Region } from '../../net/bytes.ts';
import { alignUp, copyWords, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { VALUE_TAG_BYTES } from '../../workers/sealing.ts';
import { NO_REF } from '../store/host-memory.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import {
  OPERATION_SLOTS_MAX,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
} from './messages.ts';
import type { Peer } from './peer.ts';
import type { Reassembly } from './reassemblies.ts';

/**
 * REPAIR: a reader could not open this replica's copy and offers another with the same stamp and tag. The replica
 * trusts neither: it opens its own copy first (does it really fail?), then the offered one, and only then replaces its
 * own, if the key still has that stamp. Rare, so it may allocate; bounded in number.
 *
 * Both copies are opened where they lie: the offered one in its datagram, or, when it came by parts, in its block of host
 * memory, which takes the bad one's place.
 */
const JOBS_MAX = 64;
/** A replica's sealing serves its coordinator, too, whose tokens are operation slots: these lie behind them. */
export const REPAIR_TOKENS = OPERATION_SLOTS_MAX;

/** What a repair names: key, stamp, tag, length. */
interface Named {
  readonly keyWords: Int32Array;
  readonly keyBytes: number;
  readonly counter: number;
  readonly writerHigh: number;
  readonly writerLow: number;
  readonly rmw: number;
  readonly tagWords: Int32Array;
  readonly envelopeBytes: number;
}

interface Job {
  readonly named: Named;
  readonly offered: Region;
  readonly offeredWord: number;
  /** The offered copy's block, when it came by parts; else NO_REF. */
  readonly ref: number;
  stage: 'own' | 'offered';
}

export class Repairs {
  readonly #store: Store;
  readonly #sealing: ValueSealing;
  readonly #drops: DropCounters;
  readonly #jobs: (Job | undefined)[] = Array.from<Job | undefined>({ length: JOBS_MAX });
  /** Copies in host memory found to be tampered with, and copies replaced. */
  tamperedCount = 0;
  repairedCount = 0;

  constructor(store: Store, sealing: ValueSealing, drops: DropCounters) {
    this.#store = store;
    this.#sealing = sealing;
    this.#drops = drops;
  }

  onRepair(incoming: Incoming<Peer>, word: number, valueWord: number): void {
    const { words } = incoming.region;
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const named: Named = {
      keyWords: words.slice(word + WORD_WRITE_KEY, word + WORD_WRITE_KEY + (alignUp(keyBytes) >> 2)),
      keyBytes,
      counter: readU53(words, word + WORD_WRITE_COUNTER),
      writerHigh: words[word + WORD_WRITE_WRITER + 1]!,
      writerLow: words[word + WORD_WRITE_WRITER]!,
      rmw: words[word + WORD_WRITE_RMW]!,
      tagWords: words.slice(word + WORD_WRITE_TAG, word + WORD_WRITE_TAG + VALUE_TAG_BYTES / 4),
      envelopeBytes: words[word + WORD_ENVELOPE_BYTES]!,
    };
    this.#begin({ named, offered: incoming.region, offeredWord: valueWord, ref: NO_REF, stage: 'own' });
  }

  /** A copy that came by parts. True when it is taken over; else its block stays the caller's. */
  onWhole(offer: Reassembly): boolean {
    const keyWords = new Int32Array(alignUp(offer.keyBytes) >> 2);
    copyWords(keyWords, 0, offer.keyWords, 0, keyWords.length);
    const { keyBytes, counter, writerHigh, writerLow, rmw, envelopeBytes, ref } = offer;
    const named = {
      keyWords,
      keyBytes,
      counter,
      writerHigh,
      writerLow,
      rmw,
      envelopeBytes,
      tagWords: offer.tagWords.slice(),
    };
    const offered = this.#store.hostRegion(ref);
    return this.#begin({ named, offered, offeredWord: this.#store.hostWord(ref), ref, stage: 'own' });
  }

  /** Whether there is an entry of exactly this stamp, tag and length. */
  wants(named: Named): boolean {
    return this.#entryOf(named) !== NO_ENTRY;
  }

  #begin(job: Job): boolean {
    const index = this.#jobs.indexOf(undefined);
    const entry = this.#entryOf(job.named);
    const ownRef = entry === NO_ENTRY ? NO_REF : this.#store.hostRef(entry);
    // An empty value in plaintext has no copy that could be bad.
    if (index === -1 || ownRef === NO_REF) {
      this.#drops.count('repair-unusable');
      return false;
    }
    this.#jobs[index] = job;
    this.#submit(index, job.named, this.#store.hostRegion(ownRef), this.#store.hostWord(ownRef));
    return true;
  }

  onValueOpened(token: number, opened: boolean): void {
    const index = token - REPAIR_TOKENS;
    const job = this.#jobs[index]!;
    const entry = this.#entryOf(job.named);
    if (job.stage === 'own' && !opened && entry !== NO_ENTRY) {
      this.tamperedCount++;
      job.stage = 'offered';
      return this.#submit(index, job.named, job.offered, job.offeredWord);
    }
    this.#jobs[index] = undefined;
    if (job.stage === 'own' || !opened || entry === NO_ENTRY) {
      if (job.ref !== NO_REF) this.#store.releaseReserved(job.ref);
      return this.#drops.count('repair-unusable');
    }
    if (job.ref !== NO_REF) this.#store.adoptRepair(entry, job.ref);
    else this.#store.overwriteEnvelope(entry, job.offered.words, job.offeredWord, job.named.envelopeBytes);
    this.repairedCount++;
  }

  #entryOf(named: Named): number {
    const store = this.#store;
    const entry = store.find(named.keyWords, 0, named.keyBytes);
    // A key that was never written has the stamp (0, 0, 0), which anybody can offer.
    if (entry === NO_ENTRY) return NO_ENTRY;
    if (store.compareStamp(entry, named.counter, named.writerHigh, named.writerLow, named.rmw) !== 0) return NO_ENTRY;
    return !store.isTombstone(entry) &&
      store.envelopeBytes(entry) === named.envelopeBytes &&
      store.tagEquals(entry, named.tagWords, 0)
      ? entry
      : NO_ENTRY;
  }

  #submit(index: number, named: Named, envelope: Region, envelopeWord: number): void {
    const { envelopeBytes, tagWords, keyWords, keyBytes } = named;
    const token = REPAIR_TOKENS + index;
    this.#sealing.submitOpenValue(token, envelope, envelopeWord, envelopeBytes, tagWords, 0, keyWords, 0, keyBytes);
  }
}
