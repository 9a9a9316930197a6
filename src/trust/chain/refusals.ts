import { TokenBucket } from '../../../net/token-bucket.ts';
import { refusalText } from './admission.ts';
import type { AdmissionRefusal } from './admission.ts';
import type { AuditDetail, AuditEvent } from './audit-log.ts';
import type { CasStore } from './cas-store.ts';
import type { CasEvent } from './chain-events.ts';
import { Refused } from './https-service.ts';

/**
 * Refusals written to the audit log at once, and one a second in the long run: 60 MB a day. What is more is counted, so that
 * strangers can't fill the disk.
 */
const BURST = 100;
const INTERVAL_MS = 1_000;
/** Of what a stranger has sent. */
const TEXT_CHARS = 1_024;

/** How CAS says no: to the one who asked, to whoever runs it, and in the log. */
export class Refusals {
  readonly #store: CasStore;
  readonly #onEvent: (event: CasEvent) => void;
  readonly #written = new TokenBucket(BURST, BURST * INTERVAL_MS);
  #suppressed = 0;

  constructor(store: CasStore, onEvent: (event: CasEvent) => void) {
    this.#store = store;
    this.#onEvent = onEvent;
  }

  /** @param about Who it was, and what was asked for. @throws Refused, always. */
  refuse(
    event: Extract<AuditEvent, 'refused' | 'las-refused' | 'operator-refused'>,
    refusal: AdmissionRefusal,
    about: AuditDetail,
  ): never {
    const { rule, allowed, seen } = refusal;
    if (this.#written.take(performance.now())) {
      if (this.#suppressed > 0) this.#store.audit('suppressed', { count: this.#suppressed });
      this.#suppressed = 0;
      this.#store.audit(event, {
        ...about,
        rule,
        allowed: allowed.slice(0, TEXT_CHARS),
        seen: seen.slice(0, TEXT_CHARS),
      });
    } else {
      this.#suppressed++;
    }
    this.#onEvent({ type: 'refused', rule, allowed, seen, about });
    throw new Refused('refused', refusalText(refusal));
  }
}
