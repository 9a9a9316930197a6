import { assert } from '../../net/assert.ts';
import type { ScanOutcome } from '../protocol/outcome.ts';
import type { ScanPage } from '../protocol/scan-request.ts';
import type { CallInput, CallKind } from './call-kind.ts';
import type { Operations } from './operations.ts';
import type { PageRequest } from './scans.ts';

/** One page of a scan as a call: a kind for this call alone, as pages have more to tell than an outcome and a value. */
export class ScanCall implements CallKind<ScanPage> {
  readonly #request: PageRequest;
  readonly #onEnded: (token: number, outcome: ScanOutcome) => void;
  #page: ScanPage | undefined;
  #failedKey: Buffer | undefined;

  constructor(request: PageRequest, onEnded: (token: number, outcome: ScanOutcome) => void) {
    this.#request = request;
    this.#onEnded = onEnded;
  }

  /** With the key whose get made the page fail. */
  get name(): string {
    return this.#failedKey === undefined ? 'scan' : `scan of ${JSON.stringify(String(this.#failedKey))}`;
  }

  get usesValues(): boolean {
    return this.#request.wantsValues;
  }

  start(operations: Operations, token: number, _input: CallInput, deadlineMs: number): number {
    return operations.startScan(
      {
        ...this.#request,
        onScanEnded: (outcome, page, failedKey) => {
          this.#page = page;
          this.#failedKey = failedKey;
          this.#onEnded(token, outcome);
        },
      },
      deadlineMs,
    );
  }

  answer(): ScanPage {
    assert(this.#page !== undefined, 'a scan that ends well has a page');
    return this.#page;
  }
}
