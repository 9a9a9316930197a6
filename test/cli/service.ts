import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { startAvocado } from './avocado-process.ts';
import type { Sandbox } from './avocado-process.ts';

/** A command that runs until it is told to end: CAS, LAS, replica. */
export class Service {
  readonly #lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #child: ReturnType<typeof startAvocado>;
  readonly #ended: Promise<unknown>;

  /** @param onEnd Takes what is to be done when whoever starts it is done: a test's `after`. */
  constructor(onEnd: (end: () => Promise<void>) => void, sandbox: Sandbox, args: readonly string[]) {
    this.#child = startAvocado(sandbox, args);
    this.#ended = once(this.#child, 'close');
    for (const input of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input }).on('line', (line) => {
        this.#lines.push(line);
        for (const look of this.#waiting) look();
      });
    }
    onEnd(() => this.end());
  }

  /** The first match in what it prints, now or later. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        for (const line of this.#lines) {
          const match = pattern.exec(line);
          if (match === null) continue;
          this.#waiting.delete(look);
          resolve(match);
          return;
        }
      };
      this.#waiting.add(look);
      void this.#ended.then(() =>
        reject(new Error(`it ended and had not said ${pattern}:\n${this.#lines.join('\n')}`)),
      );
      look();
    });
  }

  /** All that it has printed. */
  get text(): string {
    return this.#lines.join('\n');
  }

  async end(signal: 'SIGINT' | 'SIGKILL' = 'SIGINT'): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }
}
