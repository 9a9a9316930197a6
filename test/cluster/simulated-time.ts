/** Time as a queue of what happens next: it moves from event to event, and nothing takes any. */
interface Event {
  readonly atMs: number;
  /** Events of the same instant happen in the order in which they were asked for. */
  readonly number: number;
  happen(): void;
}

/** Some hundred times what a run of minutes takes: where time stands still while things happen, nobody should wait. */
const EVENTS_MAX = 20_000_000;

export class SimulatedTime {
  nowMs = 0;
  /** Binary heap, the earliest first. */
  readonly #events: Event[] = [];
  #count = 0;

  after(delayMs: number, happen: () => void): void {
    const events = this.#events;
    if (this.#count >= EVENTS_MAX) throw new Error(`${EVENTS_MAX} events, and no end of them`);
    events.push({ atMs: this.nowMs + delayMs, number: this.#count++, happen });
    let at = events.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(events[parent]!, events[at]!)) break;
      swap(events, parent, at);
      at = parent;
    }
  }

  /** Runs until the condition holds or so much time has passed; whether the condition held. */
  runUntil(condition: () => boolean, limitMs: number): boolean {
    const endMs = this.nowMs + limitMs;
    while (!condition()) {
      const next = this.#events[0];
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = endMs;
        return false;
      }
      this.#step();
    }
    return true;
  }

  run(durationMs: number): void {
    this.runUntil(() => false, durationMs);
  }

  #step(): void {
    const events = this.#events;
    const first = events[0]!;
    const last = events.pop()!;
    if (events.length > 0) {
      events[0] = last;
      this.#sink();
    }
    this.nowMs = first.atMs;
    first.happen();
  }

  #sink(): void {
    const events = this.#events;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) return;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (isBefore(events[at]!, events[child]!)) return;
      swap(events, at, child);
      at = child;
    }
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number);
}

function swap(events: Event[], a: number, b: number): void {
  const held = events[a]!;
  events[a] = events[b]!;
  events[b] = held;
}
