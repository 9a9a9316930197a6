import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { allocateShared } from '../../net/bytes.ts';
import { openProcessSealing } from '../../workers/process-sealing.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { mainThreadMs } from '../../workers/thread-time.ts';

/**
 * What a value costs the event loop that has it sealed: processor time of the loop's thread, which other processes of the
 * machine don't add to. One value at a time, the loop asleep in between: the most that a hand-over can cost.
 */
export interface LoopCostRow {
  readonly valueBytes: number;
  readonly inlineUs: number;
  readonly workerUs: number;
}

/** For each size so many bytes, in a bounded number of values; the first few don't count. */
const BYTES_A_SIZE = 32 * 2 ** 20;
const VALUES_MAX = 500;
const VALUES_WARM = 20;
const ASLEEP_MS = 2;

const KEY_BYTES = 24;
const NOBODYS_KEY = new Uint8Array(32);

/** Undefined where the system doesn't tell the time of a single thread: elsewhere than on Linux. */
export async function measureLoopCost(
  workers: number,
  sizes: readonly number[],
): Promise<readonly LoopCostRow[] | undefined> {
  if (mainThreadMs() === undefined) return undefined;
  const dataKeys = DataKeyRing.of(1, NOBODYS_KEY);
  const inline = await openProcessSealing({ mode: 'secure', dataKeys, workers: 0 });
  const handed = await openProcessSealing({ mode: 'secure', dataKeys, workers, workersFromBytes: 0 });
  try {
    const rows: LoopCostRow[] = [];
    for (const valueBytes of sizes) {
      const inlineUs = await new Sealer(inline.sealing, valueBytes, () => {}).measureUs();
      const workerUs = await new Sealer(handed.sealing, valueBytes, handed.onReadyToDrain.bind(handed)).measureUs();
      rows.push({ valueBytes, inlineUs, workerUs });
    }
    return rows;
  } finally {
    await Promise.all([inline.close(), handed.close()]);
  }
}

/** Asleep for a moment, so that the figure is exact. */
async function threadUs(): Promise<number> {
  await sleep(ASLEEP_MS);
  return (mainThreadMs() ?? 0) * 1_000;
}

class Sealer {
  readonly #sealing: Sealing;
  readonly #valueBytes: number;
  readonly #tag = new Int32Array(4);
  readonly #key = new Int32Array(KEY_BYTES / 4);
  #isDone = false;
  #wake: () => void = () => {};

  constructor(sealing: Sealing, valueBytes: number, onReadyToDrain: (ready: () => void) => void) {
    this.#sealing = sealing;
    this.#valueBytes = valueBytes;
    onReadyToDrain(() => this.#wake());
  }

  async measureUs(): Promise<number> {
    const count = Math.min(VALUES_MAX, Math.ceil(BYTES_A_SIZE / this.#valueBytes));
    const envelopeBytes = this.#sealing.envelopeBytesOf(this.#valueBytes);
    const envelope = allocateShared(envelopeBytes);
    for (let i = 0; i < VALUES_WARM; i++) await this.#seal(envelope, envelopeBytes);
    const beforeUs = await threadUs();
    for (let i = 0; i < count; i++) await this.#seal(envelope, envelopeBytes);
    return ((await threadUs()) - beforeUs) / count;
  }

  async #seal(envelope: ReturnType<typeof allocateShared>, envelopeBytes: number): Promise<void> {
    this.#isDone = false;
    this.#sealing.submitSealValue(0, envelope, 0, envelopeBytes, this.#tag, 0, this.#key, 0, KEY_BYTES);
    const sink = { onValueSealed: () => void (this.#isDone = true), onValueOpened: () => {} };
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#sealing.drainValues(sink);
      if (this.#isDone) return;
      if (this.#sealing.pendingValueJobs > 0) await new Promise((resolve) => setImmediate(resolve));
      else await woken;
    }
  }
}
