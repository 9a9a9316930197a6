import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { assert } from '../../net/assert.ts';
import { AvocadoError, ERROR_CODES } from '../errors.ts';
import type { ChildReport, ChildOptions } from './replica-child.ts';

/** How long a replica may take from its start until the cluster has formed; a busy machine needs a few seconds. */
const START_TIMEOUT_MS = 30_000;
/** A replica has nothing to save: what has not ended by then is stuck. */
const STOP_TIMEOUT_MS = 2_000;

/** The parent's side of a replica that runs as a child process; replica-child.ts is the other side. */
export class ReplicaProcess {
  readonly #index: number;
  readonly #child: ChildProcess;
  readonly #log: (line: string) => void;
  readonly #ended: Promise<string>;
  readonly #active: Promise<void>;
  #lastReason = 'it has not reported yet';
  #isActive = false;
  #stopping = false;

  /** @param onUnexpectedExit Called when it ends after it was active and without stop(). */
  constructor(options: ChildOptions, log: (line: string) => void, onUnexpectedExit: (description: string) => void) {
    this.#index = options.index;
    this.#log = log;
    // Our own arguments to Node (a debugger's port, a test runner's) are not the child's.
    this.#child = fork(childMain(), [JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [],
    });
    this.#logLines(this.#child.stdout);
    this.#logLines(this.#child.stderr);
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`it could not be started: ${error.message}`));
      this.#child.once('exit', (code, signal) =>
        resolve(signal === null ? `it ended with code ${code}` : `${signal} ended it`),
      );
    });
    this.#active = this.#reports();
    // It is handled by whoever calls active(); until then a rejection must not end the process.
    this.#active.catch(() => {});
    void this.#ended.then((description) => {
      if (this.#isActive && !this.#stopping) onUnexpectedExit(description);
    });
  }

  get processId(): number {
    const { pid } = this.#child;
    assert(pid !== undefined, 'asked of a replica that was started');
    return pid;
  }

  /** Resolves with how it ended. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** Resolves once the replica serves; rejects with its own error when it can't. */
  async active(signal?: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    const givenUp = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(
          new AvocadoError(
            'NO_QUORUM',
            `replica ${this.#index} did not become active in ${START_TIMEOUT_MS / 1000} s: ${this.#lastReason}`,
          ),
        );
      }, START_TIMEOUT_MS);
      onAbort = (): void => reject(signal?.reason as Error);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted === true) onAbort();
    });
    try {
      await Promise.race([this.#active, givenUp]);
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    // One that was stopped by SIGSTOP would not notice before it goes on.
    this.#child.kill('SIGCONT');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #reports(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.on('message', (message) => {
        const report = message as ChildReport;
        switch (report.type) {
          case 'state':
            this.#lastReason =
              report.reason === '' ? `it is ${report.state}` : `it is ${report.state}, ${report.reason}`;
            if (this.#isActive) this.#log(this.#lastReason);
            if (report.state !== 'active') return;
            this.#isActive = true;
            resolve();
            return;
          case 'error': {
            const code = ERROR_CODES.find((known) => known === report.code);
            reject(code === undefined ? new Error(report.message) : new AvocadoError(code, report.message));
            return;
          }
        }
      });
      void this.#ended.then((description) => {
        const fail = (): void => reject(new Error(`replica ${this.#index} did not start: ${description}`));
        // The channel may still hold the replica's own error when the process has gone.
        if (this.#child.connected) this.#child.once('disconnect', fail);
        else fail();
      });
    });
  }

  #logLines(stream: Readable | null): void {
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#log(line));
  }
}

/** Beside this file, with the same ending: the compiler doesn't rewrite paths outside imports. */
function childMain(): string {
  return fileURLToPath(new URL(`./replica-child${extname(import.meta.url)}`, import.meta.url));
}
