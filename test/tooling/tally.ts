/**
 * Counts tests from the event stream of node's runner. Only leaves count, so that nesting tests for order does not raise
 * the number: a suite or a test with subtests counts only when it fails for a reason of its own. A file without a
 * single test is a failure, since node reports it as a passed test.
 */

/** The part of node's test:pass and test:fail events that counting needs. */
export interface TestEvent {
  name: string;
  nesting: number;
  file?: string;
  line?: number;
  skip?: string | boolean | undefined;
  todo?: string | boolean | undefined;
  details: { type?: string | undefined; error?: { failureType?: unknown } | undefined };
}

export class Tally {
  passedCount = 0;
  failedCount = 0;
  skippedCount = 0;
  readonly filesWithoutTests: string[] = [];
  /** For each file, whether a test was reported at a nesting depth since the last one above it. */
  readonly #seenAtDepth = new Map<string, boolean[]>();

  pass(event: TestEvent): void {
    if (event.name === event.file) {
      this.filesWithoutTests.push(event.file);
      this.failedCount += 1;
      return;
    }
    if (this.#hadChildren(event)) return;
    if (isSet(event.skip) || isSet(event.todo)) this.skippedCount += 1;
    else if (event.details.type !== 'suite') this.passedCount += 1;
  }

  fail(event: TestEvent): void {
    this.#hadChildren(event);
    if (event.details.error?.failureType === 'subtestsFailed') return;
    if (isSet(event.todo)) this.skippedCount += 1;
    else this.failedCount += 1;
  }

  /** A run in which nothing passed proves nothing, so it is no success. */
  get ok(): boolean {
    return this.failedCount === 0 && this.passedCount > 0;
  }

  closingLine(): string {
    const skipped = this.skippedCount > 0 ? `, ${this.skippedCount} skipped` : '';
    return `${this.passedCount} passed, ${this.failedCount} failed${skipped}`;
  }

  /** Children are reported before their parent, and a file's tests in order. */
  #hadChildren(event: TestEvent): boolean {
    const file = event.file ?? '';
    const seen = this.#seenAtDepth.get(file) ?? [];
    this.#seenAtDepth.set(file, seen);
    const had = seen[event.nesting + 1] === true;
    seen[event.nesting + 1] = false;
    seen[event.nesting] = true;
    return had;
  }
}

/** Node gives a reason as a string, which may be empty. */
function isSet(mark: string | boolean | undefined): boolean {
  return mark !== undefined && mark !== false;
}
