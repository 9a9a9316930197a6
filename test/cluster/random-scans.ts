import type { Dice } from './dice.ts';
import type { RecordedClient } from './recorded-client.ts';
import type { ScanWish } from './recorded-scans.ts';

const PAGES_MAX = 4;
const KEYS_MAX = 20;

/** Scans of a random run: any part of the keys, either way, a few pages one behind the other. */
export class RandomScans {
  readonly #dice: Dice;
  readonly #keys: readonly string[];
  readonly #startedCounts = new Map<RecordedClient, number>();

  constructor(dice: Dice, keys: readonly string[]) {
    this.#dice = dice;
    this.#keys = keys;
  }

  /** False when the client had no room. */
  start(client: RecordedClient, deadlineMs: number, onEnd: () => void): boolean {
    const isStarted = this.#page(client, this.#draw(), deadlineMs, PAGES_MAX, onEnd);
    if (isStarted) this.#startedCounts.set(client, this.startedBy(client) + 1);
    return isStarted;
  }

  startedBy(client: RecordedClient): number {
    return this.#startedCounts.get(client) ?? 0;
  }

  #draw(): ScanWish {
    const dice = this.#dice;
    const bound = (): string => (dice.chance(0.6) ? '' : dice.pick(this.#keys));
    return {
      start: bound(),
      isAfterStart: dice.chance(0.2),
      end: bound(),
      isReverse: dice.chance(0.4),
      keysMax: dice.chance(0.6) ? dice.integer(1, 3) : KEYS_MAX,
      wantsValues: dice.chance(0.85),
    };
  }

  #page(client: RecordedClient, wish: ScanWish, deadlineMs: number, pagesLeft: number, onEnd: () => void): boolean {
    const { process, scans } = client;
    const attempt = scans.tryStart(wish, deadlineMs, process.nowMs, (page) => {
      const covered = page?.covered?.toString('latin1');
      const isOver = covered === undefined || pagesLeft === 1;
      if (isOver || !this.#page(client, behind(wish, covered), deadlineMs, pagesLeft - 1, onEnd)) onEnd();
    });
    if (attempt === undefined) return false;
    process.schedule();
    if (this.#dice.chance(0.03)) client.node.coordinator.cancel(attempt.operationId);
    return true;
  }
}

function behind(wish: ScanWish, covered: string): ScanWish {
  return wish.isReverse ? { ...wish, end: covered } : { ...wish, start: covered, isAfterStart: true };
}
