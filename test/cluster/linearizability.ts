/**
 * Whether a history of gets, puts and deletes could have come from one register a key that does each operation at one
 * instant between its start and its end. Linearizability is local (Herlihy and Wing 1990), so each key is judged on its
 * own: with deletes by the search of Wing and Gong (1993) with Lowe's memory of what was tried ("Testing for
 * linearizability", 2017), without by the zones of Gibbons and Korach.
 */

/** One operation. Times are any numbers that order events. */
export interface Operation {
  readonly kind: 'get' | 'put' | 'delete';
  readonly key: string;
  /** Put: what was written, unique a key. Get: what was read, undefined when absent. */
  readonly value: string | undefined;
  readonly start: number;
  /** Infinity: nobody knows whether it took effect, or when. Operations known to have had none are left out. */
  readonly end: number;
}

export interface Violation {
  readonly key: string;
  /** The key's operations by start. */
  readonly operations: readonly Operation[];
  readonly reason: string;
}

/** States tried before a key is given up as undecided; our histories need some thousands. */
const STATES_MAX = 500_000;

/** The first key whose operations fit no order, or undefined. */
export function findViolation(history: readonly Operation[]): Violation | undefined {
  const byKey = new Map<string, Operation[]>();
  for (const operation of history) {
    const operations = byKey.get(operation.key);
    if (operations === undefined) byKey.set(operation.key, [operation]);
    else operations.push(operation);
  }
  for (const [key, operations] of byKey) {
    const reason = judgeKey(operations);
    if (reason !== undefined) {
      return { key, operations: operations.toSorted((a, b) => a.start - b.start), reason };
    }
  }
  return undefined;
}

/** For people: one line an operation. */
export function describeViolation(violation: Violation): string {
  const lines = violation.operations.map(({ kind, value, start, end }) => {
    const shown = kind === 'get' ? ` -> ${value ?? 'absent'}` : kind === 'put' ? ` ${value}` : '';
    return `  [${start} .. ${end === Infinity ? 'unknown' : end}] ${kind}${shown}`;
  });
  return [`key ${violation.key}: ${violation.reason}`, ...lines].join('\n');
}

const ABSENT = 0;

function judgeKey(all: readonly Operation[]): string | undefined {
  const read = new Set(all.flatMap(({ kind, value }) => (kind === 'get' && value !== undefined ? [value] : [])));
  const written = new Set(all.flatMap(({ kind, value }) => (kind === 'put' ? [value] : [])));
  for (const value of read) if (!written.has(value)) return `${JSON.stringify(value)} was read and never written`;
  // A put of unknown outcome that nobody read fits at the very end, so it decides nothing.
  const operations = all.filter(({ kind, value, end }) => end < Infinity || kind !== 'put' || read.has(value!));
  const verdict = operations.some(({ kind }) => kind === 'delete')
    ? new Search(operations).run()
    : zonesFit(operations)
      ? 'linearizable'
      : 'not';
  if (verdict === 'undecided') return `undecided after ${STATES_MAX} states`;
  return verdict === 'linearizable' ? undefined : 'no order of its operations fits';
}

/**
 * Without deletes each value, absent included, has one write, and that decides in no time (Gibbons and Korach 1997): what
 * writes or reads a value spans a zone from its earliest end to its latest start. Where the end comes first the register
 * must hold the value all through the zone (forward), else at some instant of it (backward). So no two forward zones may
 * overlap, and no backward zone may lie within a forward one.
 */
function zonesFit(operations: readonly Operation[]): boolean {
  const zones = new Map<string | undefined, { firstEnd: number; lastStart: number }>();
  if (operations.some(({ value }) => value === undefined)) {
    zones.set(undefined, { firstEnd: -Infinity, lastStart: -Infinity });
  }
  for (const { value, start, end } of operations) {
    const zone = zones.get(value);
    zones.set(value, {
      firstEnd: Math.min(zone?.firstEnd ?? Infinity, end),
      lastStart: Math.max(zone?.lastStart ?? -Infinity, start),
    });
  }
  const putStarts = new Map(operations.flatMap(({ kind, value, start }) => (kind === 'put' ? [[value, start]] : [])));
  if (operations.some(({ kind, value, end }) => kind === 'get' && end < (putStarts.get(value) ?? -Infinity)))
    return false;
  const forward = [...zones.values()]
    .filter(({ firstEnd, lastStart }) => firstEnd < lastStart)
    .sort((a, b) => a.firstEnd - b.firstEnd);
  if (forward.some((zone, i) => i > 0 && zone.firstEnd < forward[i - 1]!.lastStart)) return false;
  return [...zones.values()].every(
    ({ firstEnd, lastStart }) =>
      firstEnd < lastStart || !forward.some((zone) => zone.firstEnd < lastStart && firstEnd < zone.lastStart),
  );
}

/** An event of the doubly linked list that is left to explain: the start of an operation, or its end. */
interface Event {
  readonly operation: number;
  /** Undefined for an end. */
  readonly endEvent: Event | undefined;
  previous: Event | undefined;
  next: Event | undefined;
}

interface Placed {
  readonly event: Event;
  readonly stateBefore: number;
  readonly isChoice: boolean;
}

class Search {
  readonly #operations: readonly Operation[];
  /** The values' numbers: what a put sets, what a get saw. */
  readonly #valueIds: Int32Array;
  readonly #head: Event = { operation: -1, endEvent: undefined, previous: undefined, next: undefined };
  /** Operations that have their place, as bits. */
  readonly #done: Int32Array;
  readonly #tried = new Set<string>();
  /** Operations given a place, in order. */
  readonly #placed: Placed[] = [];

  constructor(operations: readonly Operation[]) {
    this.#operations = operations;
    const ids = new Map<string | undefined, number>([[undefined, ABSENT]]);
    this.#valueIds = Int32Array.from(operations, ({ kind, value }) => {
      const name = kind === 'delete' ? undefined : value;
      if (!ids.has(name)) ids.set(name, ids.size);
      return ids.get(name)!;
    });
    this.#done = new Int32Array((operations.length + 31) >> 5);
    this.#link();
  }

  run(): 'linearizable' | 'not' | 'undecided' {
    let state = ABSENT;
    this.#placeGets(state);
    let event = this.#head.next;
    while (this.#head.next !== undefined) {
      if (this.#tried.size > STATES_MAX) return 'undecided';
      if (event?.endEvent !== undefined) {
        const next = this.#apply(event.operation, state);
        if (next !== undefined && this.#isNew(event.operation, next)) {
          this.#placed.push({ event, stateBefore: state, isChoice: true });
          lift(event);
          state = next;
          this.#placeGets(state);
          event = this.#head.next;
          continue;
        }
        event = event.next;
        continue;
      }
      // An end whose operation has no place yet: some earlier choice was wrong.
      const choice = this.#takeBack();
      if (choice === undefined) return 'not';
      state = choice.stateBefore;
      event = choice.event.next;
    }
    return 'linearizable';
  }

  /**
   * A get that may come next and sees the state does come next: it changes nothing, so whatever order fits without it fits
   * with it in front. Only writes are choices.
   */
  #placeGets(state: number): void {
    for (let event = this.#head.next; event?.endEvent !== undefined; event = event.next) {
      if (this.#operations[event.operation]!.kind !== 'get' || this.#valueIds[event.operation] !== state) continue;
      this.#flip(event.operation);
      this.#placed.push({ event, stateBefore: state, isChoice: false });
      lift(event);
    }
  }

  /** Takes back the last choice and what followed from it. */
  #takeBack(): Placed | undefined {
    for (;;) {
      const last = this.#placed.pop();
      if (last === undefined) return undefined;
      this.#flip(last.event.operation);
      putBack(last.event);
      if (last.isChoice) return last;
    }
  }

  /** The state after the operation; undefined when a get saw another one. */
  #apply(operation: number, state: number): number | undefined {
    const value = this.#valueIds[operation]!;
    return this.#operations[operation]!.kind === 'get' && value !== state ? undefined : value;
  }

  /** Marks the operation as done; false, and unmarked, when the same was tried before. */
  #isNew(operation: number, state: number): boolean {
    this.#flip(operation);
    const name = `${state}:${this.#done.join()}`;
    if (!this.#tried.has(name)) {
      this.#tried.add(name);
      return true;
    }
    this.#flip(operation);
    return false;
  }

  #flip(operation: number): void {
    this.#done[operation >> 5]! ^= 1 << (operation & 31);
  }

  #link(): void {
    const events: { readonly time: number; readonly isStart: boolean; readonly event: Event }[] = [];
    this.#operations.forEach(({ start, end }, operation) => {
      const endEvent: Event = { operation, endEvent: undefined, previous: undefined, next: undefined };
      const event: Event = { operation, endEvent, previous: undefined, next: undefined };
      events.push({ time: start, isStart: true, event }, { time: end, isStart: false, event: endEvent });
    });
    // What ends at the instant at which another starts is concurrent with it.
    events.sort((a, b) => (a.time === b.time ? Number(b.isStart) - Number(a.isStart) : a.time < b.time ? -1 : 1));
    let last = this.#head;
    for (const { event } of events) {
      last.next = event;
      event.previous = last;
      last = event;
    }
  }
}

/** Takes start and end of an operation out of the list; they remember their neighbours. */
function lift(start: Event): void {
  unlink(start);
  unlink(start.endEvent!);
}

function putBack(start: Event): void {
  relink(start.endEvent!);
  relink(start);
}

function unlink(event: Event): void {
  event.previous!.next = event.next;
  if (event.next !== undefined) event.next.previous = event.previous;
}

function relink(event: Event): void {
  event.previous!.next = event;
  if (event.next !== undefined) event.next.previous = event;
}
