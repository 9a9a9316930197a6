import type { Region } from '../../net/bytes.ts';
import { alignUp, allocateRegion, copyPadded, copyWords, readU53 } from '../../net/bytes.ts';
import type { DropCounters } from '../../net/drops.ts';
import type { ValueSealing } from '../../workers/sealing.ts';
import { VALUE_TAG_BYTES } from '../../workers/sealing.ts';
import type { Store } from '../store/store.ts';
import { NO_ENTRY } from '../store/trusted-index.ts';
import {
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_RMW,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
} from './messages.ts';

/**
 * REPAIR: a reader could not open this replica's copy and offers another with the same stamp and tag. The replica
 * trusts neither: it opens its own copy first (does it really fail?), then the offered one, and only then replaces its
 * own, if the key still has that stamp. Rare, so it may allocate; bounded in number.
 */
const JOBS_MAX = 64;

interface Job {
  readonly keyWords: Int32Array;
  readonly keyBytes: number;
  readonly counter: number;
  readonly writerHigh: number;
  readonly writerLow: number;
  readonly rmw: number;
  readonly tagWords: Int32Array;
  readonly offered: Region;
  /** Own copy at the time, as host memory gave it. */
  readonly own: Region;
  readonly envelopeBytes: number;
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

  onRepair(words: Int32Array, word: number, valueWord: number): void {
    const keyBytes = words[word + WORD_KEY_BYTES]!;
    const envelopeBytes = words[word + WORD_ENVELOPE_BYTES]!;
    const token = this.#jobs.indexOf(undefined);
    if (token === -1) return this.#drops.count('repair-unusable');
    const job: Job = {
      keyWords: new Int32Array(alignUp(keyBytes) >> 2),
      keyBytes,
      counter: readU53(words, word + WORD_WRITE_COUNTER),
      writerHigh: words[word + WORD_WRITE_WRITER + 1]!,
      writerLow: words[word + WORD_WRITE_WRITER]!,
      rmw: words[word + WORD_WRITE_RMW]!,
      tagWords: words.slice(word + WORD_WRITE_TAG, word + WORD_WRITE_TAG + VALUE_TAG_BYTES / 4),
      offered: allocateRegion(envelopeBytes),
      own: allocateRegion(envelopeBytes),
      envelopeBytes,
      stage: 'own',
    };
    copyWords(job.keyWords, 0, words, word + WORD_WRITE_KEY, job.keyWords.length);
    copyPadded(job.offered.words, 0, words, valueWord, envelopeBytes);
    const entry = this.#entryOf(job);
    if (entry === NO_ENTRY) return this.#drops.count('repair-unusable');
    this.#store.copyEnvelope(entry, job.own, 0);
    this.#jobs[token] = job;
    this.#submit(token, job, job.own);
  }

  onValueOpened(token: number, opened: boolean): void {
    const job = this.#jobs[token]!;
    if (job.stage === 'own' && !opened) {
      this.tamperedCount++;
      job.stage = 'offered';
      this.#submit(token, job, job.offered);
      return;
    }
    this.#jobs[token] = undefined;
    const entry = this.#entryOf(job);
    if (job.stage === 'own' || !opened || entry === NO_ENTRY) return this.#drops.count('repair-unusable');
    this.#store.overwriteEnvelope(entry, job.offered.words, 0, job.envelopeBytes);
    this.repairedCount++;
  }

  /** The entry, if it has exactly the job's stamp, tag and length. */
  #entryOf(job: Job): number {
    const store = this.#store;
    const entry = store.find(job.keyWords, 0, job.keyBytes);
    // A key that was never written has the stamp (0, 0, 0), which anybody can offer.
    if (entry === NO_ENTRY) return NO_ENTRY;
    if (store.compareStamp(entry, job.counter, job.writerHigh, job.writerLow, job.rmw) !== 0) return NO_ENTRY;
    return !store.isTombstone(entry) &&
      store.envelopeBytes(entry) === job.envelopeBytes &&
      store.tagEquals(entry, job.tagWords, 0)
      ? entry
      : NO_ENTRY;
  }

  #submit(token: number, job: Job, envelope: Region): void {
    this.#sealing.submitOpenValue(
      token,
      envelope,
      0,
      job.envelopeBytes,
      job.tagWords,
      0,
      job.keyWords,
      0,
      job.keyBytes,
    );
  }
}
