import { hash } from '../../../workers/signing.ts';
import { Policy } from '../evidence/policy.ts';
import { hexOf } from '../hex.ts';
import { refuseBy } from './admission.ts';
import type { AdmissionRefusal } from './admission.ts';
import type { AuditDetail } from './audit-log.ts';
import type { CasState } from './cas-state.ts';
import { Refused } from './https-service.ts';
import type { OperatorCommand } from './messages.ts';
import { PROFILES_MAX } from './profiles.ts';
import type { Profile } from './profiles.ts';

/**
 * The policy by which CAS judges, with the profiles of clients, and how operators replace them. Whoever decides the policy can
 * let in code that hands out the data keys, and a profile gives them to clients: so a new one needs as many operators as can
 * recover the keys together. Fewer get no more by it than they have.
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
    return this.#hashWith(this.#text, this.#state.profiles);
  }

  /**
   * One operator's word for a new policy or profile, which is in force with the one that makes them enough.
   * @throws AvocadoError EVIDENCE_FILES when it is none; Refused when there are too many profiles.
   */
  approve(
    operator: string,
    command: Extract<OperatorCommand, { type: 'set-policy' | 'set-profile' }>,
    nowMs: number,
  ): { readonly done: string; readonly detail: AuditDetail } | AdmissionRefusal {
    const { replaces } = command;
    const before = this.hash;
    if (replaces !== before) return refuseBy('state', `a policy that replaces ${before}, which is in force`, replaces);
    const text = command.type === 'set-policy' ? command.policy : this.#text;
    const profiles =
      command.type === 'set-profile' ? withProfile(this.#state.profiles, command.profile) : this.#state.profiles;
    const policy = Policy.parse(text);
    const policyHash = this.#hashWith(text, profiles);
    this.#approvals.set(operator, { policyHash, untilMs: nowMs + APPROVAL_LIFE_MS });
    const needed = this.#state.policyThreshold;
    const approved = [...this.#approvals.values()].filter(
      (approval) => approval.policyHash === policyHash && approval.untilMs > nowMs,
    ).length;
    const about = command.type === 'set-profile' ? profileDetail(command.profile) : {};
    const detail = { ...about, policyHash, replaces, approved, needed };
    if (approved < needed) {
      const done = `${approved} of ${needed} operators that it needs want policy and settings ${policyHash}: the others send the same within ${APPROVAL_LIFE_HOURS} hours`;
      return { done, detail };
    }
    this.#approvals.clear();
    this.#state.policy = text;
    this.#state.profiles = profiles;
    this.#text = text;
    this.#policy = policy;
    const done = `policy and settings ${policyHash} are in force from the next join on, in place of ${before}; certificates that were given stay good until they expire`;
    return { done, detail };
  }

  #hashWith(policy: string, profiles: CasState['profiles']): string {
    const { admission, certificateSeconds, members, spaces, refreshSeconds } = this.#state;
    const addresses = members.map(({ host, port }) => ({ host, port }));
    const prefixes = spaces.map(({ name, prefixHex }) => [name, prefixHex]);
    const text = JSON.stringify([policy, admission, certificateSeconds, profiles, addresses, prefixes, refreshSeconds]);
    return hexOf(hash(new TextEncoder().encode(text)));
  }
}

function withProfile(profiles: readonly Profile[], profile: Profile): Profile[] {
  const others = profiles.filter(({ name }) => name !== profile.name);
  if (others.length >= PROFILES_MAX) throw new Refused('refused', `there are ${PROFILES_MAX} profiles: remove one`);
  return [...others, profile];
}

function profileDetail({ name, grants, measurements, enrolmentKey }: Profile): AuditDetail {
  return { profile: name, grants, measurements: measurements?.length ?? null, enrolmentKey };
}

/** Operators sit in several places and need not be awake at once; later they say so again. */
const APPROVAL_LIFE_HOURS = 24;
export const APPROVAL_LIFE_MS = APPROVAL_LIFE_HOURS * 3_600_000;
