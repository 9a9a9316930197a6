import { bytesOfHex } from '../hex.ts';
import { parseEvidence } from '../evidence/evidence-file.ts';
import type { MeasuredFacts, Refusal } from '../evidence/evidence.ts';
import type { Policy } from '../evidence/policy.ts';
import type { CasState, LasRecord } from './cas-state.ts';
import { factsOfVoucher, VOUCHER } from './messages.ts';
import type { JoinRequest, Voucher } from './messages.ts';
import type { EvidenceJudge } from './platform.ts';
import { isEnrolled } from './profiles.ts';
import { isOfRevokedLas } from './revocations.ts';
import { joinReportData } from './report-data.ts';
import type { JoinClaim } from './report-data.ts';
import { contentOf, openDocument } from './signed-document.ts';
import type { SignedDocument } from './signed-document.ts';

/** Who is admitted, and why not. Nothing here changes anything. */
export type AdmissionRule =
  | Refusal['rule']
  | 'nonce'
  | 'admission'
  | 'las'
  | 'las-revoked'
  | 'voucher'
  | 'voucher-expired'
  | 'member'
  | 'key-revoked'
  | 'profile'
  | 'state';

export interface AdmissionRefusal {
  readonly ok: false;
  readonly rule: AdmissionRule;
  readonly allowed: string;
  readonly seen: string;
}

export type AdmissionVerdict =
  | { readonly ok: true; readonly facts: MeasuredFacts; readonly lasId: string | null }
  | AdmissionRefusal;

/** With what the process may do, as the profile has it (grant-text.ts): undefined for a replica, which may do all. */
export type JoinVerdict =
  | {
      readonly ok: true;
      readonly facts: MeasuredFacts;
      readonly lasId: string | null;
      readonly grants: string | undefined;
    }
  | AdmissionRefusal;

export function refuseBy(rule: AdmissionRule, allowed: string, seen: string): AdmissionRefusal {
  return { ok: false, rule, allowed, seen };
}

/** As whoever was refused reads it. */
export function refusalText({ rule, allowed, seen }: Omit<AdmissionRefusal, 'ok'>): string {
  return `refused by rule ${rule}: allowed ${allowed}; seen ${seen}`;
}

export interface JoinTimes {
  readonly nowMs: number;
  /** Of the request's nonce, by a clock that is not put back. */
  readonly nonceAgeMs: number;
}

/** Judges proof and policy of one that wants to join; that the nonce is fresh is the caller's business. */
export function judgeJoin(
  request: JoinRequest,
  state: CasState,
  policy: Policy,
  judge: EvidenceJudge,
  times: JoinTimes,
): JoinVerdict {
  const path = request.proof.type === 'voucher' ? 'las' : 'direct';
  if (state.admission !== 'both' && state.admission !== path) {
    const allowed = state.admission === 'las' ? "a LAS's voucher" : 'evidence to CAS itself';
    return refuseBy('admission', allowed, path === 'las' ? 'a voucher' : 'evidence');
  }
  const proven =
    request.proof.type === 'voucher'
      ? judgeVoucher(request, request.proof.voucher, state, times)
      : judgeEvidence(request.proof.evidence, judge, times.nowMs);
  if (!proven.ok) return proven;
  // Report data binds everything the request claims: keys, nonce, role, member.
  const refusal = policy.judge(proven.facts, { role: request.role, reportData: joinReportData(request) });
  if (refusal !== undefined) return refusal;
  const badMachine = judgeMachine(proven.facts.platformId, proven.lasId, state);
  if (badMachine !== undefined) return badMachine;
  if (state.revoked.some(({ staticKey }) => staticKey === request.staticKey)) {
    return refuseBy('key-revoked', 'a key that was not revoked', request.staticKey);
  }
  return judgeMember(request, state) ?? judgeProfile(request, state, proven.facts, proven.lasId);
}

function judgeProfile(request: JoinRequest, state: CasState, facts: MeasuredFacts, lasId: string | null): JoinVerdict {
  const { role, profile: name, enrolment } = request;
  if (role === 'replica') {
    if (name !== null) return refuseBy('profile', 'no profile for a replica', name);
    return { ok: true, facts, lasId, grants: undefined };
  }
  const profile = state.profiles.find((each) => each.name === name);
  if (profile === undefined) return refuseBy('profile', 'a profile that CAS has', name ?? 'none');
  const { measurements, enrolmentKey } = profile;
  if (measurements !== null && !measurements.includes(facts.measurement)) {
    return refuseBy('profile', `${profile.name} for builds ${measurements.join(', ')}`, facts.measurement);
  }
  if (enrolmentKey !== null && !isEnrolled(enrolmentKey, joinReportData(request), enrolment)) {
    const seen = enrolment === null ? 'none' : 'another signature';
    return refuseBy('profile', `${profile.name} signed for by enrolment key ${enrolmentKey}`, seen);
  }
  return { ok: true, facts, lasId, grants: profile.grants };
}

export function judgeEvidence(text: string, judge: EvidenceJudge, nowMs: number): AdmissionVerdict {
  const parsed = parseEvidence(new TextEncoder().encode(text));
  if (!parsed.ok) return refuseBy('malformed', 'evidence', parsed.reason);
  const verified = judge.verify(parsed.evidence, nowMs);
  return verified.ok ? { ok: true, facts: verified.facts, lasId: null } : verified;
}

/** A machine whose LAS was revoked is not to be trusted, whatever it calls itself next. */
export function judgeMachine(
  platformId: string | undefined,
  lasId: string | null,
  state: CasState,
): AdmissionRefusal | undefined {
  const isIt = (las: LasRecord): boolean => las.lasId === lasId || (las.platformId ?? '') === platformId;
  const revoked = state.lases.find((las) => las.revoked && isIt(las));
  if (revoked === undefined) return undefined;
  return refuseBy('las-revoked', 'a machine whose LAS was not revoked', `that of ${revoked.lasId}`);
}

function judgeVoucher(claim: JoinClaim, document: SignedDocument, state: CasState, times: JoinTimes): AdmissionVerdict {
  const named = contentOf(document, VOUCHER);
  if (named === undefined) return refuseBy('voucher', 'a voucher', 'something else');
  const las = state.lases.find(({ lasId }) => lasId === named.lasId);
  if (las === undefined) return refuseBy('las', 'a LAS that CAS has attested', named.lasId);
  const voucher = openDocument(document, 'voucher', VOUCHER, bytesOfHex(las.voucherKey));
  if (voucher === undefined) return refuseBy('voucher', `a voucher signed by LAS ${las.lasId}`, 'another signature');
  const wrong =
    judgeLas(las, times.nowMs) ?? judgeVoucherContent(voucher, claim, las, state.clusterId, times.nonceAgeMs);
  if (wrong !== undefined) return wrong;
  return { ok: true, facts: factsOfVoucher(voucher.facts, joinReportData(voucher)), lasId: las.lasId };
}

function judgeLas(las: LasRecord, nowMs: number): AdmissionRefusal | undefined {
  if (las.revoked) return refuseBy('las-revoked', 'a LAS that was not revoked', las.lasId);
  if (nowMs >= las.expirySeconds * 1000) {
    return refuseBy('las', 'a LAS whose certificate is good', `${las.lasId}, expired`);
  }
  return undefined;
}

function judgeVoucherContent(
  voucher: Voucher,
  claim: JoinClaim,
  las: LasRecord,
  clusterId: string,
  ageMs: number,
): AdmissionRefusal | undefined {
  if (voucher.clusterId !== clusterId) return refuseBy('voucher', `cluster ${clusterId}`, voucher.clusterId);
  if (voucher.nonce !== claim.nonce) return refuseBy('nonce', `a voucher for nonce ${claim.nonce}`, voucher.nonce);
  if (ageMs >= voucher.lifeSeconds * 1000) {
    return refuseBy('voucher-expired', `${voucher.lifeSeconds} s after its nonce`, `${Math.round(ageMs / 1000)} s`);
  }
  // A LAS speaks for its own machine only.
  const { kind, platformId } = voucher.facts;
  if (kind !== las.kind || platformId === null || platformId !== las.platformId) {
    return refuseBy('platform', `${las.kind} ${las.platformId ?? 'unknown'}, the LAS's`, `${kind} ${platformId}`);
  }
  return undefined;
}

/** While the cluster forms, a member that starts again takes its own place; after that only operators free one. */
function judgeMember({ role, memberIndex, staticKey }: JoinClaim, state: CasState): AdmissionRefusal | undefined {
  if (role === 'client') {
    return memberIndex === null ? undefined : refuseBy('member', 'no member index for a client', String(memberIndex));
  }
  const member = memberIndex === null ? undefined : state.members[memberIndex];
  if (member === undefined) {
    return refuseBy('member', `a member from 0 to ${state.members.length - 1}`, String(memberIndex));
  }
  // One process with two places would be two of a quorum.
  if (state.members.some((each) => each !== member && each.staticKey === staticKey)) {
    return refuseBy('member', 'a key that no other member has', staticKey);
  }
  if (member.staticKey === staticKey && isOfRevokedLas(state, member)) {
    return refuseBy('las-revoked', 'a key that no revoked LAS has vouched for', staticKey);
  }
  const isWhole = state.members.every((each) => each.staticKey !== null);
  if (!isWhole || member.staticKey === staticKey) return undefined;
  return refuseBy(
    'member',
    `the key ${member.staticKey ?? ''} for member ${memberIndex} of epoch ${state.epoch}, until an operator re-forms the members`,
    staticKey,
  );
}
