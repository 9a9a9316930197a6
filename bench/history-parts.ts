import { mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mergeHistory } from './history.ts';

/**
 * The parts of a history that clients write, one each, until they are put together. They lie beside the file
 * that they become: there is room for it, or there isn't.
 */
export class HistoryParts {
  /** The run's start by process.hrtime.bigint(). */
  readonly originNs = process.hrtime.bigint();
  readonly #path: string;
  readonly #directory: string;

  /** @param path What they become. */
  constructor(path: string) {
    this.#path = path;
    this.#directory = mkdtempSync(join(dirname(path), '.avocado-history-'));
  }

  part(clientIndex: number): string {
    return join(this.#directory, `part-${clientIndex}.jsonl`);
  }

  async merge(clientCount: number): Promise<void> {
    await mergeHistory(
      Array.from({ length: clientCount }, (_, index) => this.part(index)),
      this.#path,
    );
  }

  /** Of the parts; what they became stays. */
  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
