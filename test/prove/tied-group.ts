import type { ChildProcess } from 'node:child_process';

/**
 * A child process that leads a group of its own, as a terminal's command does: what it starts can be ended with it, and
 * is, when this process exits in the middle.
 * @param child Was started with `detached`.
 */
export class TiedGroup {
  readonly #groupId: number;

  constructor(child: ChildProcess) {
    if (child.pid === undefined) throw new Error(`${child.spawnfile} could not be started`);
    this.#groupId = child.pid;
    const end = (): void => void this.signal('SIGKILL');
    process.once('exit', end);
    child.once('close', () => process.off('exit', end));
  }

  /** Some process of it. */
  get isAlive(): boolean {
    return this.signal(0);
  }

  /** False when there is no such process any more. */
  signal(name: NodeJS.Signals | 0): boolean {
    try {
      process.kill(-this.#groupId, name);
      return true;
    } catch {
      return false;
    }
  }
}
