import { refuseBy } from './admission.ts';
import type { AdmissionRefusal } from './admission.ts';
import { Refused } from './https-service.ts';
import type { Nonces, NonceVerdict } from './nonces.ts';

/** Refuses what is not fresh; what is, is not any more. @throws Refused. */
export function spendNonce(
  nonces: Nonces,
  nonce: string,
  nowMs: number,
  refuse: (refusal: AdmissionRefusal) => never,
): void {
  const verdict = nonces.use(nonce, nowMs);
  if (verdict === 'fresh') return;
  if (verdict === 'full') throw new Refused('later', 'too many are joining: wait a minute');
  refuse(refuseBy('nonce', 'a fresh nonce of this CAS, used once', SEEN[verdict]));
}

const SEEN: Readonly<Record<Exclude<NonceVerdict, 'fresh' | 'full'>, string>> = {
  foreign: 'another',
  expired: 'an expired one',
  used: 'one that was used',
};
