import { hash } from '../../../workers/signing.ts';
import { Policy } from '../evidence/policy.ts';
import { hexOf } from '../hex.ts';
import { refuseBy } from './admission.ts';
import type { AdmissionRefusal } from './admission.ts';
import type { AuditDetail } from './audit-log.ts';
import type { CasState } from './cas-state.ts';
import type { OperatorCommand } from './messages.ts';

/**
 * The policy by which CAS judges, and how operators replace it. Whoever decides the policy can let in code that hands out the
 * data keys, so a new one needs as many operators as can recover the keys together: fewer get no more by it than they have.
 */
export class PolicyInForce {
  readonly #state: CasState;
  #text: string;
  #policy: Policy;
  /** By operator, the one that he wants. Lost when CAS ends: then they say so again. */
  readonly #approvals = new Map<string, { readonly policyHash: string; readonly untilMs: number }>();

  /** @throws AvocadoError EVIDENCE_FILES. */
  constructor(state: CasState) {
    this.#state = state;
    this.#text = state.policy;
    this.#policy = Policy.parse(state.policy);
  }

  get policy(): Policy {
    return this.#policy;
  }

  /** Of the policy and of the settings beside it; what CAS tells everybody, and its evidence binds. */
  get hash(): string {
    return this.#hashWith(this.#text);
  }

  /**
   * One operator's word for a new policy, which is in force with the one that makes them enough.
   * @throws AvocadoError EVIDENCE_FILES when it is none.
   */
  approve(
    operator: string,
    { policy: text, replaces }: Extract<OperatorCommand, { type: 'set-policy' }>,
    nowMs: number,
  ): { readonly done: string; readonly detail: AuditDetail } | AdmissionRefusal {
    const before = this.hash;
    if (replaces !== before) return refuseBy('state', `a policy that replaces ${before}, which is in force`, replaces);
    const policy = Policy.parse(text);
    const policyHash = this.#hashWith(text);
    this.#approvals.set(operator, { policyHash, untilMs: nowMs + APPROVAL_LIFE_MS });
    const needed = this.#state.policyThreshold;
    const approved = [...this.#approvals.values()].filter(
      (approval) => approval.policyHash === policyHash && approval.untilMs > nowMs,
    ).length;
    const detail = { policyHash, replaces, approved, needed };
    if (approved < needed) {
      const done = `${approved} of ${needed} operators that it needs want policy and settings ${policyHash}: the others send the same file within ${APPROVAL_LIFE_HOURS} hours`;
      return { done, detail };
    }
    this.#approvals.clear();
    this.#state.policy = text;
    this.#text = text;
    this.#policy = policy;
    const done = `policy and settings ${policyHash} are in force from the next join on, in place of ${before}; certificates that were given stay good until they expire`;
    return { done, detail };
  }

  #hashWith(policy: string): string {
    const { admission, certificateSeconds, profiles, members, spaces } = this.#state;
    const addresses = members.map(({ host, port }) => ({ host, port }));
    const prefixes = spaces.map(({ name, prefixHex }) => [name, prefixHex]);
    const text = JSON.stringify([policy, admission, certificateSeconds, profiles, addresses, prefixes]);
    return hexOf(hash(new TextEncoder().encode(text)));
  }
}

/** Operators sit in several places and need not be awake at once; later they say so again. */
const APPROVAL_LIFE_HOURS = 24;
export const APPROVAL_LIFE_MS = APPROVAL_LIFE_HOURS * 3_600_000;
