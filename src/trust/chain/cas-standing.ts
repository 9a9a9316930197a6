import type { CasStore } from './cas-store.ts';
import type { CasEvent } from './chain-events.ts';
import { Refused } from './https-service.ts';
import type { WitnessVerdict } from './state-witness.ts';

/**
 * Whether CAS may decide anything: it serves from a state that its witnesses, or an operator, have confirmed as the newest,
 * and until one of them knows of another. docs/trust-chain.md, "State, rollback and witnesses".
 */
export class CasStanding {
  readonly #store: CasStore;
  readonly #onEvent: (event: CasEvent) => void;
  #isConfirmed = false;
  /** Why nothing is decided any more: another CAS has the same state. */
  #overtakenBy: { readonly counter: number; readonly witness: string } | undefined;
  #waitsFor = 'it has not asked its witnesses yet';

  constructor(store: CasStore, onEvent: (event: CasEvent) => void) {
    this.#store = store;
    this.#onEvent = onEvent;
  }

  get isServing(): boolean {
    return this.#isConfirmed && !this.isOvertaken && this.#store.failure === undefined;
  }

  get isOvertaken(): boolean {
    return this.#overtakenBy !== undefined;
  }

  /** For a state that was made in this process: there is no later one. */
  confirmNew(): void {
    this.#isConfirmed = true;
  }

  /** @param operator Undefined: its witnesses have. */
  async confirm(operator?: string): Promise<void> {
    if (this.#isConfirmed) return;
    this.#isConfirmed = true;
    const by = operator === undefined ? 'witnesses' : `operator ${operator}`;
    if (operator !== undefined) this.#store.confirmedByOperator();
    this.#store.audit('started', { stateCounter: this.#store.state.counter, confirmedBy: by });
    this.checkOvertaken(await this.#store.written());
    this.#onEvent({ type: 'serving', confirmedBy: by });
  }

  /** Of witnesses that were asked at the start. */
  note(verdict: WitnessVerdict): void {
    this.#noteOvertaken(verdict);
    if (verdict.type === 'unknown') {
      this.#waitsFor = `${verdict.answered} of ${verdict.needed} witnesses that it needs answer; start their hosts' LASes as they were, or have an operator confirm its state (avocado cas confirm)`;
    }
  }

  /** @throws Refused. */
  checkServing(): void {
    if (this.#overtakenBy !== undefined) {
      const { witness, counter } = this.#overtakenBy;
      throw new Refused(
        'later',
        `CAS does not decide: ${witness} holds its word for state ${counter}, and it has state ${this.#store.state.counter}; its disk was turned back, or there are two of it`,
      );
    }
    if (this.#store.failure !== undefined) {
      throw new Refused('later', 'CAS decides nothing any more, as its audit log could not be written: start it anew');
    }
    if (!this.#isConfirmed) throw new Refused('later', `CAS waits: ${this.#waitsFor}`);
  }

  /** @param verdict About a state that was written. @throws Refused. */
  checkOvertaken(verdict: WitnessVerdict): void {
    this.#noteOvertaken(verdict);
    if (this.isOvertaken) this.checkServing();
  }

  /** Nothing is answered for that a disk turned back could take away unseen. @throws Refused. */
  checkHeld(verdict: WitnessVerdict): void {
    this.checkOvertaken(verdict);
    const unheld = this.#unheld(verdict);
    if (unheld === undefined) return;
    throw new Refused(
      'later',
      `${unheld} hold its state: start the LASes of the other hosts, or have an operator revoke those that are gone`,
    );
  }

  /** What operators want is done in any case: a revocation must not wait for hosts that are down. */
  unheldText(verdict: WitnessVerdict): string {
    const unheld = this.#unheld(verdict);
    if (unheld === undefined) return '';
    return `; but only ${unheld} hold its state, so its host could take this back unseen: start the LASes that are gone`;
  }

  /** Undefined when a majority has it, or there are no witnesses. */
  #unheld(verdict: WitnessVerdict): string | undefined {
    if (verdict.type !== 'unknown' || this.#store.isAlone) return undefined;
    return `${verdict.answered} of ${verdict.needed} witnesses that CAS needs`;
  }

  #noteOvertaken(verdict: WitnessVerdict): void {
    if (verdict.type !== 'overtaken' || this.isOvertaken) return;
    const { counter, witness } = verdict;
    this.#overtakenBy = { counter, witness };
    this.#onEvent({ type: 'overtaken', counter, witness });
  }
}
