import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { CommandFailure, EXIT_FAILED } from '../src/cli/failure.ts';
import { AvocadoError, ERROR_CODES } from '../src/errors.ts';
import { childPath } from './child-path.ts';
import type { Answer, ChildMessage, Failed, ParentMessage, Progress as LoadProgress } from './messages.ts';

/** The parent's end of one load process: questions with one answer each, and an end that is always noticed. */

/** A process that was asked to end and has not by then is killed. */
const END_TIMEOUT_MS = 2_000;
/** What is kept of a process's stderr to explain its death. */
const STDERR_CHARS_MAX = 4_096;

export class LoadProcess {
  readonly #index: number;
  readonly #child: ChildProcess;
  readonly #onProgress: (index: number, progress: LoadProgress) => void;
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;
  #ending = false;
  #stderr = '';

  constructor(index: number, onProgress: (index: number, progress: LoadProgress) => void) {
    this.#index = index;
    this.#onProgress = onProgress;
    this.#child = fork(childPath('load-child'), [], {
      // Flags of the parent's own node (a debugger's, a test runner's) are not for its children.
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS_MAX);
    });
    this.#child.on('message', (message) => this.#onMessage(message as ChildMessage));
    this.#child.on('error', (error) => this.#fail(`load process ${index} could not be started: ${error.message}`));
    // 'close' comes after 'exit', when stderr has been read to its end.
    this.#child.on('close', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const said = this.#stderr.trim();
      // A stack is too long for the one line that tells of the failure.
      if (!this.#ending && said !== '') process.stderr.write(`${said}\n`);
      this.#fail(`load process ${index} ended unexpectedly (${how})`);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks and waits for the answer of this type. Rejects when the process fails or ends. */
  async ask<T extends Answer['type']>(message: ParentMessage, type: T): Promise<Extract<Answer, { type: T }>> {
    const answer = await new Promise<Answer>((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#waiting = { resolve, reject };
      this.#child.send(message, (error) => {
        if (error !== null) this.#fail(`load process ${this.#index} can't be reached: ${error.message}`);
      });
    });
    if (answer.type !== type) {
      throw new Error(`load process ${this.#index} answered ${answer.type} instead of ${type}`);
    }
    return answer as Extract<Answer, { type: T }>;
  }

  /** Ends the process whatever it does. Never rejects. */
  async end(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    this.#fail('the bench was stopped');
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    if (child.connected) child.disconnect();
    // One that was stopped by SIGSTOP would not notice before it goes on.
    child.kill('SIGCONT');
    const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }

  #onMessage(message: ChildMessage): void {
    if (message.type === 'progress') {
      this.#onProgress(this.#index, message);
      return;
    }
    if (message.type === 'failed') {
      this.#failWith(errorOf(this.#index, message));
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(message);
  }

  #fail(message: string): void {
    this.#failWith(new CommandFailure(message, EXIT_FAILED));
  }

  #failWith(error: Error): void {
    this.#failure ??= error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#failure);
  }
}

/** The error that the process met, with its code, so that it is reported as if it were met here. */
function errorOf(index: number, failed: Failed): Error {
  const code = ERROR_CODES.find((known) => known === failed.code);
  if (code !== undefined) return new AvocadoError(code, failed.message);
  return new CommandFailure(`load process ${index} failed: ${failed.message}`, EXIT_FAILED);
}
