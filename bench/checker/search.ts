import type { Interval, Model } from './model.ts';

/**
 * Looks for an order of any model's operations in which each takes effect between its start and its end: the search of
 * Wing and Gong (1993) with Lowe's memory of what was tried ("Testing for linearizability", 2017), as Porcupine has it.
 *
 * Starts and ends lie in a list by time. Whatever starts before the first end may come next; it is lifted out of the
 * list, start and end, and the search goes on from the list's head. An end that is met in the list belongs to an
 * operation that should have had its place by now: the last choice is taken back and the next one tried. The same
 * operations placed and the same state reached means the same future, so that is tried once.
 */
export type SearchResult =
  /** order: places in operations; those of unknown outcome that have no part in it are missing. */
  | { readonly verdict: 'linearizable'; readonly order: readonly number[] }
  | { readonly verdict: 'violation' }
  | { readonly verdict: 'undecided' };

/** The memory of what was tried takes two bytes a character: 256 MiB. */
const MEMORY_CHARS_MAX = 2 ** 27;

/**
 * @param statesMax Tried before it gives up.
 * @param sorted Which of those that may come next to try first, when it should not be by start.
 */
export function searchOrder<State, Op extends Interval>(
  model: Model<State, Op>,
  operations: readonly Op[],
  statesMax: number,
  sorted?: (candidates: readonly number[]) => readonly number[],
): SearchResult {
  return new Search(model, operations, statesMax, sorted).run();
}

interface Placed<State> {
  readonly place: number;
  readonly stateBefore: State;
  /** Else it had to come next, whatever follows. */
  readonly isChoice: boolean;
}

const NONE = -1;
/** Bits of a character of the memory's keys. */
const WORD_BITS = 16;
const WORD_FULL = 0xffff;

class Search<State, Op extends Interval> {
  readonly #model: Model<State, Op>;
  readonly #statesMax: number;
  readonly #sorted: ((candidates: readonly number[]) => readonly number[]) | undefined;
  /** Place of an operation -> its index. Places are by start, so that what is placed is nearly a prefix of them. */
  readonly #indexes: number[];
  readonly #operations: Op[];
  /** The way back: its index -> its place. */
  readonly #placeOf: Int32Array;
  /** Event of a start: its place. Event of an end: count + its place. The list's head: 2 * count. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #head: number;
  #endedLeft: number;

  readonly #placed: Placed<State>[] = [];
  /** A bit a place. */
  readonly #placedWords: Uint16Array;
  readonly #tried = new Set<string>();
  #triedChars = 0;

  constructor(
    model: Model<State, Op>,
    operations: readonly Op[],
    statesMax: number,
    sorted: ((candidates: readonly number[]) => readonly number[]) | undefined,
  ) {
    this.#model = model;
    this.#statesMax = statesMax;
    this.#sorted = sorted;
    this.#indexes = operations.map((_, index) => index).sort((a, b) => operations[a]!.start - operations[b]!.start);
    this.#operations = this.#indexes.map((index) => operations[index]!);
    const count = this.#operations.length;
    this.#placeOf = new Int32Array(count);
    for (let place = 0; place < count; place++) this.#placeOf[this.#indexes[place]!] = place;
    this.#next = new Int32Array(2 * count + 1);
    this.#previous = new Int32Array(2 * count + 1);
    this.#head = 2 * count;
    this.#endedLeft = this.#operations.filter(({ end }) => end < Infinity).length;
    this.#placedWords = new Uint16Array(Math.ceil(count / WORD_BITS));
    this.#link();
  }

  run(): SearchResult {
    let state = this.#placeReads(this.#model.initial);
    let triedLast = NONE;
    while (this.#endedLeft > 0) {
      if (this.#tried.size > this.#statesMax || this.#triedChars > MEMORY_CHARS_MAX) return { verdict: 'undecided' };
      const place = this.#nextChoice(state, triedLast);
      if (place !== NONE) {
        this.#place({ place, stateBefore: state, isChoice: true });
        state = this.#placeReads(this.#model.step(state, this.#operations[place]!)!);
        triedLast = NONE;
      } else {
        const choice = this.#takeBack();
        if (choice === undefined) return { verdict: 'violation' };
        state = choice.stateBefore;
        triedLast = choice.place;
      }
    }
    return { verdict: 'linearizable', order: this.#placed.map(({ place }) => this.#indexes[place]!) };
  }

  /** The next after `triedLast` that fits and leads to what was not tried before, or NONE. */
  #nextChoice(state: State, triedLast: number): number {
    if (this.#sorted === undefined) {
      let event = this.#next[triedLast === NONE ? this.#head : triedLast]!;
      for (; this.#isStart(event); event = this.#next[event]!) if (this.#isChoice(state, event)) return event;
      return NONE;
    }
    const candidates: number[] = [];
    for (let event = this.#next[this.#head]!; this.#isStart(event); event = this.#next[event]!) {
      candidates.push(this.#indexes[event]!);
    }
    const sorted = this.#sorted(candidates);
    const from = triedLast === NONE ? 0 : sorted.indexOf(this.#indexes[triedLast]!) + 1;
    for (let i = from; i < sorted.length; i++) {
      const place = this.#placeOf[sorted[i]!]!;
      if (this.#isChoice(state, place)) return place;
    }
    return NONE;
  }

  #isChoice(state: State, place: number): boolean {
    const after = this.#model.step(state, this.#operations[place]!);
    return after !== undefined && this.#isNew(place, after);
  }

  /**
   * A read that may come next and fits the state does come next: it changes nothing, so whatever order fits without it
   * fits with it in front. Only what may change the state is a choice.
   */
  #placeReads(from: State): State {
    let state = from;
    for (let event = this.#next[this.#head]!; this.#isStart(event); event = this.#next[event]!) {
      const operation = this.#operations[event]!;
      if (!this.#model.isReadOnly(operation, state)) continue;
      const after = this.#model.step(state, operation);
      if (after === undefined) continue;
      this.#place({ place: event, stateBefore: state, isChoice: false });
      state = after;
    }
    return state;
  }

  #place(placed: Placed<State>): void {
    this.#placed.push(placed);
    this.#flip(placed.place);
    this.#lift(placed.place);
    if (this.#operations[placed.place]!.end < Infinity) this.#endedLeft--;
  }

  /** Takes back the last choice and what followed from it. */
  #takeBack(): Placed<State> | undefined {
    for (;;) {
      const last = this.#placed.pop();
      if (last === undefined) return undefined;
      this.#flip(last.place);
      this.#putBack(last.place);
      if (this.#operations[last.place]!.end < Infinity) this.#endedLeft++;
      if (last.isChoice) return last;
    }
  }

  /** Whether placing this one leads to what was not tried before. */
  #isNew(place: number, after: State): boolean {
    this.#flip(place);
    const name = this.#placedText(place) + this.#model.identify(after);
    this.#flip(place);
    if (this.#tried.has(name)) return false;
    this.#tried.add(name);
    this.#triedChars += name.length;
    return true;
  }

  /**
   * The bits of what is placed, without the words before, which are full, and those behind, which are empty.
   *
   * @param place Placed, but still in the list.
   */
  #placedText(place: number): string {
    let event = this.#next[this.#head]!;
    while (event < this.#head && (event === place || !this.#isStart(event))) event = this.#next[event]!;
    const firstWord = Math.floor((this.#isStart(event) ? event : this.#operations.length) / WORD_BITS);
    let bitsLeft = this.#placed.length + 1 - firstWord * WORD_BITS;
    let text = '';
    for (let word = firstWord; bitsLeft > 0; word++) {
      const bits = this.#placedWords[word]!;
      text += String.fromCharCode(bits);
      bitsLeft -= bitCount(bits);
    }
    return String.fromCharCode(firstWord & WORD_FULL, firstWord >>> WORD_BITS, text.length) + text;
  }

  #flip(place: number): void {
    this.#placedWords[Math.floor(place / WORD_BITS)]! ^= 1 << (place % WORD_BITS);
  }

  // -- the list -----------------------------------------------------------------------------------------------------

  #isStart(event: number): boolean {
    return event < this.#operations.length;
  }

  #link(): void {
    const count = this.#operations.length;
    const timeOf = (event: number): number =>
      event < count ? this.#operations[event]!.start : this.#operations[event - count]!.end;
    // What ends at the instant at which another starts is concurrent with it. Infinity minus itself is no number.
    const events = Array.from({ length: 2 * count }, (_, event) => event).sort((a, b) =>
      timeOf(a) === timeOf(b) ? a - b : timeOf(a) - timeOf(b),
    );
    let last = this.#head;
    for (const event of events) {
      this.#next[last] = event;
      this.#previous[event] = last;
      last = event;
    }
    this.#next[last] = this.#head;
    this.#previous[this.#head] = last;
  }

  /** Takes start and end out of the list; they remember their neighbours. */
  #lift(place: number): void {
    this.#unlink(place);
    this.#unlink(this.#operations.length + place);
  }

  /** In the opposite order of lifting. */
  #putBack(place: number): void {
    this.#relink(this.#operations.length + place);
    this.#relink(place);
  }

  #unlink(event: number): void {
    this.#next[this.#previous[event]!] = this.#next[event]!;
    this.#previous[this.#next[event]!] = this.#previous[event]!;
  }

  #relink(event: number): void {
    this.#next[this.#previous[event]!] = event;
    this.#previous[this.#next[event]!] = event;
  }
}

/** Of 16 bits. */
function bitCount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
