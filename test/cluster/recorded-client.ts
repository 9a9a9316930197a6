import type { Operation } from '../../bench/checker/operation.ts';
import type { ClientNode } from '../../src/client/client-node.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import { TABLE_FULL } from '../../src/client/operations.ts';
import { RecordedScans } from './recorded-scans.ts';
import type { SimulatedProcess } from './simulated-process.ts';

/** An operation that a test started, and what has become of it. */
export interface Attempt {
  readonly id: number;
  readonly kind: Operation['kind'];
  readonly isCoordinated: boolean;
  readonly key: string;
  readonly value: string | undefined;
  readonly start: number;
  readonly startMs: number;
  /** On the process's own clock. */
  readonly deadlineAtMs: number;
  operationId: number;
  /** Undefined while it runs. */
  outcome: Outcome | undefined;
  /** Get that ended 'ok'. */
  readValue: string | undefined;
  end: number;
  endMs: number;
  onEnd: (() => void) | undefined;
}

/** Timers are a millisecond coarse (src/protocol/timer-wheel.ts). */
const DEADLINE_SLACK_MS = 2;

/** Numbers the events of a simulation, so that starts and ends are in order even at the same instant. */
export interface Journal {
  nextNumber(): number;
  nowMs(): number;
}

/** Told of operations. */
export interface OperationObserver {
  onStarted(attempt: Attempt): void;
  onEnded(attempt: Attempt): void;
}

/** A client process: starts operations and keeps their history. */
export class RecordedClient implements OperationSink {
  readonly name: string;
  readonly process: SimulatedProcess;
  readonly attempts: Attempt[] = [];
  observer: OperationObserver | undefined;
  readonly scans: RecordedScans;
  readonly #journal: Journal;
  #running: Attempt[] = [];
  #node: ClientNode | undefined;

  /** @param scannedKeys All that anybody writes: scans tell which of them are not there. */
  constructor(name: string, process: SimulatedProcess, journal: Journal, scannedKeys: readonly string[] = []) {
    this.scans = new RecordedScans(journal, () => this.node, scannedKeys);
    this.name = name;
    this.process = process;
    this.#journal = journal;
  }

  get node(): ClientNode {
    return this.#node!;
  }

  /** @param isSlow The sealing finishes late, so that turns are needed while it works. */
  run(node: ClientNode, isSlow: boolean): void {
    this.#node = node;
    this.process.run(
      {
        onDatagram: (datagram, host, port) => node.onDatagram(datagram, host, port),
        onSent: (token, failed) => node.onSent(token, failed),
        turn: (nowMs) => {
          node.turn(nowMs);
          this.#checkDeadlines(nowMs);
        },
        get isWorkLeft() {
          return node.isWorkLeft;
        },
        close: () => node.close(),
        invariants: () => node.invariants(),
      },
      () => (isSlow ? 0 : node.nextTurnMs),
    );
  }

  /** Whatever goes wrong around it, an operation ends in the first turn after its deadline. */
  #checkDeadlines(nowMs: number): void {
    const overdue = this.#running.find(({ deadlineAtMs }) => deadlineAtMs + DEADLINE_SLACK_MS < nowMs);
    if (overdue === undefined && this.scans.overdue(nowMs - DEADLINE_SLACK_MS) !== undefined) {
      throw new Error(`a scan of ${this.name} goes on after its deadline`);
    }
    if (overdue === undefined) return;
    const lateMs = (nowMs - overdue.deadlineAtMs).toFixed(1);
    throw new Error(`a ${overdue.kind} of ${this.name} goes on ${lateMs} ms after its deadline`);
  }

  get(key: string, deadlineMs: number, onEnd?: () => void): Attempt {
    return this.#startSurely('get', key, undefined, deadlineMs, onEnd);
  }

  put(key: string, value: string, deadlineMs: number, onEnd?: () => void): Attempt {
    return this.#startSurely('put', key, value, deadlineMs, onEnd);
  }

  delete(key: string, deadlineMs: number, onEnd?: () => void): Attempt {
    return this.#startSurely('delete', key, undefined, deadlineMs, onEnd);
  }

  #startSurely(
    kind: Operation['kind'],
    key: string,
    value: string | undefined,
    deadlineMs: number,
    onEnd?: () => void,
  ): Attempt {
    const attempt = this.tryStart(kind, key, value, deadlineMs, onEnd);
    if (attempt === undefined) throw new Error('tests start no more than the table holds');
    return attempt;
  }

  cancel(attempt: Attempt): void {
    if (attempt.outcome === undefined && this.process.isAlive) this.node.core.cancel(attempt.operationId);
  }

  /** Whether a put or delete of the key is under way. */
  isWriting(key: string): boolean {
    return this.#running.some((attempt) => attempt.key === key && attempt.kind !== 'get');
  }

  /** What is under way ends as 'closed' or 'outcome-unknown'. */
  close(): void {
    this.node.close();
    this.process.kill();
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    const attempt = this.attempts[token]!;
    if (attempt.outcome !== undefined) throw new Error(`operation ${token} of ${this.name} ended twice`);
    attempt.outcome = outcome;
    this.#running = this.#running.filter((other) => other !== attempt);
    attempt.end = this.#journal.nextNumber();
    attempt.endMs = this.#journal.nowMs();
    if (attempt.kind === 'get' && outcome === 'ok') {
      attempt.readValue = Buffer.from(value.subarray(0, valueBytes)).toString('latin1');
    }
    this.observer?.onEnded(attempt);
    attempt.onEnd?.();
  }

  /** Undefined when there is no room for another one: nothing was started. */
  tryStart(
    kind: Operation['kind'],
    key: string,
    value: string | undefined,
    deadlineMs: number,
    onEnd: (() => void) | undefined,
  ): Attempt | undefined {
    const token = this.attempts.length;
    const attempt: Attempt = {
      id: token,
      kind,
      isCoordinated: this.node.route === 'coordinated',
      key,
      value,
      start: this.#journal.nextNumber(),
      startMs: this.#journal.nowMs(),
      deadlineAtMs: this.process.nowMs + deadlineMs,
      operationId: TABLE_FULL,
      outcome: undefined,
      readValue: undefined,
      end: Infinity,
      endMs: Infinity,
      onEnd,
    };
    const { core } = this.node;
    const { nowMs } = this.process;
    const keyBytes = Buffer.from(key);
    attempt.operationId =
      kind === 'get'
        ? core.startGet(token, keyBytes, deadlineMs, nowMs)
        : kind === 'put'
          ? core.startPut(token, keyBytes, Buffer.from(value!, 'latin1'), deadlineMs, nowMs)
          : core.startDelete(token, keyBytes, deadlineMs, nowMs);
    if (attempt.operationId === TABLE_FULL) return undefined;
    this.attempts.push(attempt);
    this.#running.push(attempt);
    this.observer?.onStarted(attempt);
    this.process.schedule();
    return attempt;
  }

  /** What the checker is to explain: errors that promise no effect are left out, unknown outcomes stay open. */
  history(): Operation[] {
    const attempts = this.attempts.flatMap(({ kind, key, value, readValue, start, end, outcome }): Operation[] => {
      if (outcome === 'ok' || outcome === 'absent') {
        return [{ kind, key, value: kind === 'get' ? readValue : value, start, end }];
      }
      const isOpen = kind !== 'get' && (outcome === 'outcome-unknown' || outcome === undefined);
      return isOpen ? [{ kind, key, value, start, end: Infinity }] : [];
    });
    return [...attempts, ...this.scans.gets];
  }
}
