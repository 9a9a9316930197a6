import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { startAvocado } from '../cli/avocado-process.ts';
import type { Sandbox } from '../cli/avocado-process.ts';

/** A replica started by hand, as an operator does after a crash: `avocado replica`, and what it says. */
export class RestartedReplica {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(sandbox: Sandbox, clusterDirectory: string, index: number) {
    this.#child = startAvocado(sandbox, ['replica', '--cluster', clusterDirectory, '--index', String(index)]);
    this.#ended = once(this.#child, 'close');
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.lines.push(line));
    this.#child.stderr?.pipe(process.stderr);
  }

  /** The line in which it says that it has this state; undefined while it hasn't. */
  lineOf(state: 'forming' | 'active' | 'outside'): string | undefined {
    return this.lines.find((line) => line.includes(` ${state}: `));
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
