import { TABLE_FULL } from '../../src/client/operations.ts';
import type { ClientCounters, Engine, MemberStatus, Operations, OperationSink } from '../../src/client/operations.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  RMW_DELETE,
  RMW_INCREMENT,
} from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';

/** An engine without a cluster: registers in a map, on which each operation is carried out a moment after it was started. */
interface State {
  readonly value: Buffer | undefined;
  readonly counter: number;
}

interface Ending {
  readonly outcome: Outcome;
  readonly value?: Buffer | undefined;
  readonly state: State;
}

/** Who has less time left does not get its operation carried out. */
const SHORTEST_MS = 1;

export class FakeEngine implements Engine, Operations {
  readonly capacity = 64;
  active = 0;
  readonly memberCount = 3;
  readonly quorum = 2;
  readonly receiveBufferBytes = 212_992;
  readonly instance = 'of the fake';
  readonly workers = undefined;
  readonly drops = {};
  readonly counters: ClientCounters = {
    retransmissions: 0,
    hedges: 0,
    tampered: 0,
    repairs: 0,
    writeBacks: 0,
    resolves: 0,
    partsRepeated: 0,
    helped: 0,
    backOffs: 0,
  };
  readonly ended = { counter: 0, writerHigh: 0, writerLow: 0, rmw: 0, hasValue: false };
  rmwBytes = 4_096;
  /** What operations were started, by name and key. */
  readonly started: string[] = [];
  /** What they were given, in the same order. */
  readonly deadlines: number[] = [];
  /** In place of carrying the next read-modify-write out. */
  nextOutcome: Outcome | undefined;
  /** Runs before each operation is carried out. */
  before: () => void = () => {};
  readonly #states = new Map<string, State>();
  #sink: OperationSink | undefined;
  #counter = 0;

  connect(sink: OperationSink): void {
    this.#sink = sink;
  }

  get operations(): Operations {
    return this;
  }

  lacksDataKey(): boolean {
    return false;
  }

  valueBytesMax(): number {
    return 2 ** 20;
  }

  rmwBytesMax(): number {
    return this.rmwBytes;
  }

  /** Behind the back of whoever uses the client. */
  set(key: string, value: string | undefined): void {
    this.#states.set(key, { value: value === undefined ? undefined : Buffer.from(value), counter: ++this.#counter });
  }

  startGet(token: number, key: Uint8Array, deadlineMs: number): number {
    const name = nameOf(key);
    return this.#start(`get ${name}`, token, deadlineMs, () => this.#found(this.#stateOf(name)));
  }

  startPut(token: number, key: Uint8Array, value: Uint8Array, deadlineMs: number): number {
    const name = nameOf(key);
    const text = Buffer.from(value).toString();
    return this.#start(`put ${name}`, token, deadlineMs, () => this.#make(name, text));
  }

  startDelete(token: number, key: Uint8Array, deadlineMs: number): number {
    return this.#start(`delete ${nameOf(key)}`, token, deadlineMs, () => this.#make(nameOf(key), undefined));
  }

  startRmw(token: number, key: Uint8Array, request: RmwRequest, deadlineMs: number): number {
    const name = nameOf(key);
    const copy = { ...request, value: request.value.slice(), expected: request.expected.slice() };
    return this.#start(`rmw ${name}`, token, deadlineMs, () => this.#change(name, copy));
  }

  #start(what: string, token: number, deadlineMs: number, carryOut: () => Ending): number {
    if (this.active === this.capacity) return TABLE_FULL;
    this.active++;
    this.started.push(what);
    this.deadlines.push(deadlineMs);
    setImmediate(() => {
      this.before();
      const { outcome, value, state } = deadlineMs < SHORTEST_MS ? this.#overdue() : carryOut();
      this.active--;
      this.ended.counter = state.counter;
      this.ended.hasValue = value !== undefined;
      const lent = Buffer.concat([value ?? Buffer.alloc(0), Buffer.alloc(64, 0xee)]);
      this.#sink!.onOperationEnded(token, outcome, lent, value?.length ?? 0);
      lent.fill(0xdd);
    });
    return this.started.length;
  }

  #overdue(): Ending {
    return { outcome: 'deadline', state: { value: undefined, counter: 0 } };
  }

  #stateOf(name: string): State {
    return this.#states.get(name) ?? { value: undefined, counter: 0 };
  }

  #found(state: State): Ending {
    return { outcome: state.value === undefined ? 'absent' : 'ok', value: state.value, state };
  }

  #make(name: string, value: string | undefined, answer?: Buffer): Ending {
    this.set(name, value);
    return { outcome: 'ok', value: answer, state: this.#stateOf(name) };
  }

  #change(name: string, request: RmwRequest): Ending {
    const state = this.#stateOf(name);
    const outcome = this.nextOutcome;
    this.nextOutcome = undefined;
    if (outcome !== undefined) return { outcome, state };
    if (!holds(request, state)) return { outcome: 'mismatch', value: state.value, state };
    if (request.change === RMW_DELETE) return this.#make(name, undefined);
    if (request.change === RMW_INCREMENT) {
      const sum = String(BigInt(state.value?.toString() ?? '0') + request.delta);
      return this.#make(name, sum, Buffer.from(sum));
    }
    const answer = request.condition === CONDITION_NONE ? state.value : undefined;
    return this.#make(name, Buffer.from(request.value).toString(), answer);
  }

  startScan(): number {
    throw new Error('no scans here');
  }

  cancel(): void {}

  async status(): Promise<MemberStatus[]> {
    return [];
  }

  async close(): Promise<void> {}
}

function holds({ condition, expected, version }: RmwRequest, { value, counter }: State): boolean {
  if (condition === CONDITION_NONE) return true;
  if (condition === CONDITION_ABSENT) return value === undefined;
  if (condition === CONDITION_VALUE) return value?.equals(expected) === true;
  return version!.counter === counter;
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key).toString();
}
