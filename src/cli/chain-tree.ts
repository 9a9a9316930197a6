import { SIMULATED_NOTICE } from '../trust/evidence/evidence.ts';
import type { CasEvent } from '../trust/chain/chain-events.ts';
import type { LasEvent } from '../trust/chain/las.ts';

/** One step of the chain of trust, for machines. */
export interface ChainStep {
  readonly step: 'las-attested' | 'admitted' | 'refused';
  readonly who: string;
  readonly by: string;
  readonly ms: number;
}

/**
 * Shows who attests whom, as it happens, until the cluster is up:
 *
 *     vendor   simulated
 *     └─ CAS   https://127.0.0.1:41000
 *        └─ LAS 1f0a...   attested through the vendor in 95 ms
 *           ├─ replica 1   vouched for in 0.5 ms, admitted after 12 ms
 *           ...
 */
export class ChainTree {
  readonly steps: ChainStep[] = [];
  readonly #replicaCount: number;
  readonly #silent: boolean;
  /** Of vouchers that CAS has not answered yet. */
  readonly #vouchedMs = new Map<string, number>();
  #admitted = 0;
  #hasRoot = false;

  constructor(replicaCount: number, silent: boolean) {
    this.#replicaCount = replicaCount;
    this.#silent = silent;
  }

  onLas(event: LasEvent): void {
    if (event.type === 'vouched') this.#vouchedMs.set(nameOf(event.role, event.memberIndex), event.ms);
    if (event.type === 'refused') this.#refused('LAS', event.reason);
  }

  onCas(event: CasEvent, reference: string): void {
    switch (event.type) {
      case 'las-attested':
        this.#root(reference);
        this.steps.push({ step: 'las-attested', who: `las ${event.lasId}`, by: 'vendor', ms: event.ms });
        this.#print(`   └─ LAS ${event.lasId.slice(0, 8)}  attested through the vendor in ${duration(event.ms)}`);
        return;
      case 'admitted': {
        const who = nameOf(event.role, event.memberIndex);
        // Clients and renewals come later, while the terminal is its user's.
        if (event.role === 'client' || this.#admitted === this.#replicaCount) return;
        this.steps.push({
          step: 'admitted',
          who,
          by: event.lasId === null ? 'vendor' : `las ${event.lasId}`,
          ms: event.ms,
        });
        this.#admitted++;
        const branch = this.#admitted < this.#replicaCount ? '├─' : '└─';
        const vouched = this.#vouchedMs.get(who);
        const by = vouched === undefined ? '' : `vouched for in ${duration(vouched)}, `;
        this.#print(`      ${branch} ${who}  ${by}admitted after ${duration(event.ms)}`);
        return;
      }
      case 'refused':
        this.#refused(
          String(event.about['role'] ?? 'somebody'),
          `by rule ${event.rule}: allowed ${event.allowed}; seen ${event.seen}`,
        );
        return;
      case 'lapsed':
      case 'data-key':
      case 'serving':
      case 'overtaken':
        return;
    }
  }

  #root(reference: string): void {
    if (this.#hasRoot) return;
    this.#hasRoot = true;
    this.#print(`vendor  ${SIMULATED_NOTICE}`);
    this.#print(`└─ CAS  ${reference.replace(/#.*/, '')}, its TLS certificate bound in its evidence`);
  }

  #refused(who: string, reason: string): void {
    this.steps.push({ step: 'refused', who, by: reason, ms: 0 });
    if (!this.#silent) process.stderr.write(`refused ${who} ${reason}\n`);
  }

  #print(line: string): void {
    if (!this.#silent) process.stdout.write(`${line}\n`);
  }
}

function nameOf(role: string, memberIndex: number | null): string {
  return memberIndex === null ? role : `${role} ${memberIndex}`;
}

function duration(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
