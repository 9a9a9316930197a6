import { refuse } from './evidence.ts';
import type { Refusal, RefusalRule } from './evidence.ts';

/** Leaves the verification of a quote from any depth; DcapVerifier catches it. It never gets out of there. */
export class DcapRefusal extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(`${refusal.rule}: ${refusal.allowed}; seen: ${refusal.seen}`);
    this.refusal = refusal;
  }
}

export function refuseQuote(rule: RefusalRule, allowed: string, seen: string): never {
  throw new DcapRefusal(refuse(rule, allowed, seen));
}

/** For judgements that hand a refusal back. */
export function enforce(refusal: Refusal | undefined): void {
  if (refusal !== undefined) throw new DcapRefusal(refusal);
}
