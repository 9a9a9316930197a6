import { hash } from '../../../workers/signing.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { judgeEvidence, judgeMachine, refuseBy } from './admission.ts';
import type { AdmissionRefusal } from './admission.ts';
import type { CasStanding } from './cas-standing.ts';
import { LASES_MAX } from './cas-state.ts';
import type { LasRecord } from './cas-state.ts';
import type { CasStore } from './cas-store.ts';
import type { CasEvent } from './chain-events.ts';
import { Refused } from './https-service.ts';
import type { LasCertificate, RegisterRequest } from './messages.ts';
import type { Nonces } from './nonces.ts';
import type { EvidenceJudge } from './platform.ts';
import type { PolicyInForce } from './policy-in-force.ts';
import type { Refusals } from './refusals.ts';
import { reportDataFor } from './report-data.ts';
import { documentJson, signDocument } from './signed-document.ts';
import { spendNonce } from './spend-nonce.ts';

/** Which LASes CAS has attested: one a machine. Each is a witness of CAS's state as well. */
export interface LasRegistryOptions {
  readonly store: CasStore;
  readonly judge: EvidenceJudge;
  readonly policy: PolicyInForce;
  readonly nonces: Nonces;
  readonly standing: CasStanding;
  readonly refusals: Refusals;
  readonly nowMs: () => number;
  readonly onEvent: (event: CasEvent) => void;
}

/** A LAS is attested anew at half of it; its host need not be trusted longer than that without asking the vendor. */
const LAS_CERTIFICATE_SECONDS = 7 * 24 * 3600;
const LAS_ID_BYTES = 8;

export class LasRegistry {
  readonly #options: LasRegistryOptions;
  /** The last registration that was begun. */
  #registered: Promise<unknown> = Promise.resolve();

  constructor(options: LasRegistryOptions) {
    this.#options = options;
  }

  /** One after the other: each may bring a witness. */
  register(request: RegisterRequest, address: string): Promise<{ certificate: object }> {
    const registered = this.#registered.then(() => this.#register(request, address));
    this.#registered = registered.catch(() => {});
    return registered;
  }

  async #register(request: RegisterRequest, address: string): Promise<{ certificate: object }> {
    const { store, judge, policy, nonces, standing, refusals, nowMs, onEvent } = this.#options;
    standing.checkServing();
    const { nonce, url, tlsCertificate, voucherKey } = request;
    const refuse = (refusal: AdmissionRefusal): never => refusals.refuse('las-refused', refusal, { url, address });
    spendNonce(nonces, nonce, nowMs(), refuse);
    const verdict = judgeEvidence(request.evidence, judge, nowMs());
    if (!verdict.ok) return refuse(verdict);
    const reportData = reportDataFor('las registration', [nonce, tlsCertificate, voucherKey, url]);
    const refusal = policy.policy.judge(verdict.facts, { role: 'las', reportData });
    if (refusal !== undefined) return refuse(refusal);

    const lasId = hexOf(hash(bytesOfHex(voucherKey)).subarray(0, LAS_ID_BYTES));
    const badMachine = judgeMachine(verdict.facts.platformId, lasId, store.state);
    if (badMachine !== undefined) return refuse(badMachine);
    const { lases } = store.state;
    const { kind, measurement, platformId } = verdict.facts;
    // It could vouch for nobody, and one machine could be any number of witnesses.
    if (platformId === undefined) return refuse(refuseBy('platform', 'a platform with an id', 'none'));
    const expirySeconds = Math.floor(nowMs() / 1000) + LAS_CERTIFICATE_SECONDS;
    // One LAS a machine: the one before it has ended. Revoked ones stay, so that they stay revoked.
    const before = lases.find((las) => las.lasId === lasId || las.platformId === platformId);
    const group = before?.group ?? 1 + Math.max(0, ...lases.map((las) => las.group));
    if (before === undefined && lases.length >= LASES_MAX) {
      throw new Refused('later', `${LASES_MAX} machines have a LAS: that is all that one CAS takes`);
    }
    // One new witness at a time: then each majority has one in common with each majority of before, which knows of the change.
    if (before === undefined && !store.isAlone) standing.checkHeld(await store.written());
    const record: LasRecord = {
      lasId,
      url,
      tlsCertificate,
      voucherKey,
      kind,
      measurement,
      platformId,
      expirySeconds,
      group,
      revoked: false,
    };
    store.state.lases = [...lases.filter((las) => las !== before), record];
    store.audit('las-attested', { lasId, url, kind, measurement, platformId, address });
    // Whether a majority holds the state doesn't matter yet: with each LAS that comes back there are more.
    standing.checkOvertaken(await store.written());
    onEvent({ type: 'las-attested', lasId, url, kind, ms: nonces.ageMs(nonce, nowMs()) });
    const certificate: LasCertificate = {
      clusterId: store.state.clusterId,
      lasId,
      voucherKey,
      kind,
      measurement,
      platformId,
      expirySeconds,
    };
    return { certificate: documentJson(signDocument('las certificate', certificate, store.clusterSecretKey)) };
  }
}
