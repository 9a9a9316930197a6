import type { Operation, ReadModifyWrite } from '../../bench/checker/operation.ts';
import type { ClientNode } from '../../src/client/client-node.ts';
import type { EndedStamp, OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { TABLE_FULL } from '../../src/client/operations.ts';
import { requestOf, versionOf } from './asked-changes.ts';
import type { AskedChange } from './asked-changes.ts';
import { RecordedScans } from './recorded-scans.ts';
import type { SimulatedProcess } from './simulated-process.ts';

/** An operation that a test started, and what has become of it. */
export interface Attempt {
  readonly id: number;
  readonly kind: Operation['kind'];
  readonly isCoordinated: boolean;
  readonly key: string;
  readonly value: string | undefined;
  /** Of a read-modify-write. */
  readonly change: AskedChange | undefined;
  readonly start: number;
  readonly startMs: number;
  /** On the process's own clock. */
  readonly deadlineAtMs: number;
  operationId: number;
  /** Undefined while it runs. */
  outcome: Outcome | undefined;
  /** Get that ended 'ok'; what a read-modify-write found, or made of a number. */
  readValue: string | undefined;
  /** What was read, written or found. */
  version: string | undefined;
  end: number;
  endMs: number;
  onEnd: (() => void) | undefined;
}

/** What a core of either route has that has read-modify-writes; a version is asked for where it costs something. */
interface ChangingCore {
  readonly ended: EndedStamp;
  startGet(token: number, key: Uint8Array, deadlineMs: number, nowMs: number, withVersion?: boolean): number;
  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number, nowMs: number): number;
}

function isChanging(core: object): core is ChangingCore {
  return 'startRmw' in core;
}

type PlainKind = 'get' | 'put' | 'delete';

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
  /** Whether its history names versions: plain histories are judged faster without. */
  namesVersions = false;
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
    kind: PlainKind,
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
    this.#learn(attempt, outcome, value, valueBytes);
    this.observer?.onEnded(attempt);
    attempt.onEnd?.();
  }

  #learn(attempt: Attempt, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    const { kind, change } = attempt;
    const { core } = this.node;
    const isKnown = outcome === 'ok' || outcome === 'absent' || outcome === 'mismatch';
    const ended = isKnown && isChanging(core) ? core.ended : undefined;
    // What a put or delete wrote a call does not tell.
    const isTold = !attempt.isCoordinated || kind === 'get' || change !== undefined;
    if (ended !== undefined && isTold && this.namesVersions) attempt.version = versionOf(ended);
    const hasValue = change === undefined ? kind === 'get' && outcome === 'ok' : ended?.hasValue === true;
    if (hasValue) attempt.readValue = Buffer.from(value.subarray(0, valueBytes)).toString('latin1');
  }

  /** Whether its route has read-modify-writes. */
  get canChange(): boolean {
    return isChanging(this.node.core);
  }

  /** A read-modify-write. Undefined when there is no room for another operation: nothing was started. */
  tryChange(key: string, change: AskedChange, deadlineMs: number, onEnd?: () => void): Attempt | undefined {
    const { core } = this.node;
    if (!isChanging(core)) throw new Error('its route has no read-modify-writes');
    const attempt = this.#attempt(change.kind, key, change.value, change, deadlineMs, onEnd);
    const { nowMs } = this.process;
    const operationId = core.startRmw(attempt.id, Buffer.from(key), requestOf(change), deadlineMs, nowMs);
    return this.#started(attempt, operationId);
  }

  /** Undefined when there is no room for another one: nothing was started. */
  tryStart(
    kind: PlainKind,
    key: string,
    value: string | undefined,
    deadlineMs: number,
    onEnd: (() => void) | undefined,
  ): Attempt | undefined {
    const attempt = this.#attempt(kind, key, value, undefined, deadlineMs, onEnd);
    const { core } = this.node;
    const { nowMs } = this.process;
    const keyBytes = Buffer.from(key);
    const operationId =
      kind === 'get'
        ? this.namesVersions && isChanging(core)
          ? core.startGet(attempt.id, keyBytes, deadlineMs, nowMs, true)
          : core.startGet(attempt.id, keyBytes, deadlineMs, nowMs)
        : kind === 'put'
          ? core.startPut(attempt.id, keyBytes, Buffer.from(value!, 'latin1'), deadlineMs, nowMs)
          : core.startDelete(attempt.id, keyBytes, deadlineMs, nowMs);
    return this.#started(attempt, operationId);
  }

  #started(attempt: Attempt, operationId: number): Attempt | undefined {
    if (operationId === TABLE_FULL) return undefined;
    attempt.operationId = operationId;
    this.attempts.push(attempt);
    this.#running.push(attempt);
    this.observer?.onStarted(attempt);
    this.process.schedule();
    return attempt;
  }

  #attempt(
    kind: Operation['kind'],
    key: string,
    value: string | undefined,
    change: AskedChange | undefined,
    deadlineMs: number,
    onEnd: (() => void) | undefined,
  ): Attempt {
    return {
      id: this.attempts.length,
      kind,
      isCoordinated: this.node.route === 'coordinated',
      key,
      value,
      change,
      start: this.#journal.nextNumber(),
      startMs: this.#journal.nowMs(),
      deadlineAtMs: this.process.nowMs + deadlineMs,
      operationId: TABLE_FULL,
      outcome: undefined,
      readValue: undefined,
      version: undefined,
      end: Infinity,
      endMs: Infinity,
      onEnd,
    };
  }

  /** What the checker is to explain: errors that promise no effect are left out, unknown outcomes stay open. */
  history(): Operation[] {
    const attempts = this.attempts.flatMap((attempt): Operation[] => {
      if (attempt.change !== undefined) return changeHistory(attempt, attempt.change);
      const { key, value, readValue, start, end, outcome, version } = attempt;
      const kind = attempt.kind as PlainKind;
      if (outcome === 'ok' || outcome === 'absent') {
        const known = version === undefined ? {} : { version };
        return [{ kind, key, value: kind === 'get' ? readValue : value, start, end, ...known }];
      }
      const isOpen = kind !== 'get' && (outcome === 'outcome-unknown' || outcome === undefined);
      return isOpen ? [{ kind, key, value, start, end: Infinity }] : [];
    });
    return [...attempts, ...this.scans.gets];
  }
}

function changeHistory(attempt: Attempt, { kind, value, expected, delta }: AskedChange): Operation[] {
  const { key, readValue, version, start, end, outcome } = attempt;
  const asked = { kind, key, value, expected, delta, start } as const;
  const known = version === undefined ? {} : { version };
  if (outcome === 'ok') {
    const learnt: Partial<ReadModifyWrite> =
      kind === 'incr' ? { value: readValue } : kind === 'getset' ? { found: readValue ?? null } : {};
    return [{ ...asked, result: 'ok', end, ...learnt, ...known }];
  }
  if (outcome === 'mismatch') return [{ ...asked, result: 'mismatch', end, found: readValue ?? null, ...known }];
  if (outcome === 'not-an-integer' || outcome === 'overflow') return [{ ...asked, result: 'mismatch', end }];
  // It took effect, but what it found did not come: for the history that is as good as unknown.
  const isOpen = outcome === 'outcome-unknown' || outcome === 'done-too-large' || outcome === undefined;
  return isOpen ? [{ ...asked, result: 'unknown', end: Infinity }] : [];
}
