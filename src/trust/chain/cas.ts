import type { z } from 'zod';
import { sealTo } from '../../../workers/secret-box.ts';
import { issueCertificate } from '../certificate.ts';
import { parseGrants } from '../grant-text.ts';
import { RIGHT_READ } from '../grants.ts';
import { KeyPrefix } from '../key-prefix.ts';
import { Permissions } from '../permissions.ts';
import { bytesOfHex } from '../hex.ts';
import { writeEvidence } from '../evidence/evidence-file.ts';
import { judgeJoin, refuseBy } from './admission.ts';
import type { AdmissionRefusal, JoinVerdict } from './admission.ts';
import { CasStanding } from './cas-standing.ts';
import type { CasStore } from './cas-store.ts';
import { NOBODY } from './cas-state.ts';
import type { CasEvent } from './chain-events.ts';
import { Refused } from './https-service.ts';
import type { JOIN_ANSWER } from './messages.ts';
import type { CasDocument, DataKeysContent, JoinRequest, ProfileList, RegisterRequest } from './messages.ts';
import { advanceKeys, waitsFor } from './key-rotation.ts';
import { LasRegistry } from './las-registry.ts';
import { Nonces } from './nonces.ts';
import { OperatorCommands } from './operator-commands.ts';
import type { EvidenceJudge, Platform } from './platform.ts';
import { PolicyInForce } from './policy-in-force.ts';
import { Refusals } from './refusals.ts';
import { publicationOf } from './publication.ts';
import type { Publication } from './publication.ts';
import { reportDataFor } from './report-data.ts';
import { lapseMembers, revokeKeys } from './revocations.ts';
import { spendNonce } from './spend-nonce.ts';
import type { SignedDocument } from './signed-document.ts';
import type { WitnessVerdict } from './state-witness.ts';

/**
 * The configuration and attestation service: decides who takes part in one cluster and hands out keys, certificates and
 * configurations. This file decides; cas-service.ts speaks HTTPS, cas-store.ts keeps the state. docs/trust-chain.md has the
 * whole chain.
 */
export interface CasOptions {
  readonly store: CasStore;
  readonly platform: Platform;
  readonly judge: EvidenceJudge;
  /** DER; bound into the evidence. */
  readonly tlsCertificate: Uint8Array;
  readonly nowMs: () => number;
  readonly onEvent: (event: CasEvent) => void;
}

export class Cas {
  readonly #options: CasOptions;
  readonly #policy: PolicyInForce;
  readonly #nonces = new Nonces();
  readonly #standing: CasStanding;
  readonly #refusals: Refusals;
  readonly #commands: OperatorCommands;
  readonly #lases: LasRegistry;
  #publication: Publication;

  constructor(options: CasOptions) {
    const { store } = options;
    this.#options = options;
    this.#publication = publicationOf(store.state);
    store.onDurable = () => {
      this.#publication = publicationOf(store.state);
    };
    this.#standing = new CasStanding(options.store, options.onEvent);
    this.#refusals = new Refusals(options.store, options.onEvent);
    this.#policy = new PolicyInForce(options.store.state);
    this.#commands = new OperatorCommands(options.store, this.#policy);
    this.#lases = new LasRegistry({
      ...options,
      policy: this.#policy,
      nonces: this.#nonces,
      standing: this.#standing,
      refusals: this.#refusals,
    });
  }

  /** For a state that was made in this process: there is no later one. */
  async startNew(): Promise<void> {
    this.#standing.confirmNew();
    this.#audit('initialised', { policyHash: this.#policy.hash, members: this.#options.store.state.members.length });
    await this.#options.store.written();
  }

  /** Serves if a majority of the witnesses knows of no later state; to be called again until it does. */
  async startFrom(): Promise<WitnessVerdict> {
    const verdict = await this.#options.store.ask();
    this.#standing.note(verdict);
    if (verdict.type === 'held') await this.#standing.confirm();
    return verdict;
  }

  get isServing(): boolean {
    return this.#standing.isServing;
  }

  get document(): CasDocument {
    const { state, auditHead } = this.#options.store;
    return {
      clusterId: state.clusterId,
      clusterPublicKey: state.clusterPublicKey,
      mode: state.mode,
      state: this.isServing ? 'serving' : 'unconfirmed',
      policyHash: this.#policy.hash,
      operators: state.operators,
      policyThreshold: state.policyThreshold,
      stateCounter: state.counter,
      auditCount: auditHead.count,
      auditHead: auditHead.hash,
      dataKeys: state.dataKeys.map(({ id, space, phase }) => ({
        id,
        space,
        phase,
        waitsFor: waitsFor(state, { id, phase }),
      })),
      destroyedKeys: state.destroyedKeys.map(({ id }) => id),
    };
  }

  /** What CAS says of itself, and evidence that it is CAS that says it, over this very connection's certificate. */
  async identity(nonce: string): Promise<{ document: string; evidence: string }> {
    const document = JSON.stringify(this.document);
    const reportData = reportDataFor('cas identity', [nonce, this.#options.tlsCertificate, document]);
    return { document, evidence: writeEvidence(await this.#options.platform.provider.makeEvidence(reportData)) };
  }

  nonce(): { nonce: string } {
    return { nonce: this.#nonces.issue(this.#options.nowMs()) };
  }

  /** The vendor's path: once a host. */
  register(request: RegisterRequest, address: string): Promise<{ certificate: object }> {
    return this.#lases.register(request, address);
  }

  async join(request: JoinRequest, address: string): Promise<z.input<typeof JOIN_ANSWER>> {
    this.#standing.checkServing();
    const { store, nowMs } = this.#options;
    const { role, memberIndex, staticKey, profile, keyReport } = request;
    const refuse = (refusal: AdmissionRefusal): never =>
      this.#refusals.refuse('refused', refusal, { role, memberIndex, staticKey, profile, address });
    // Before anything that costs: a copied request is refused for what it is.
    spendNonce(this.#nonces, request.nonce, nowMs(), refuse);
    const verdict = this.#judge(request);
    if (!verdict.ok) return refuse(verdict);
    const { state } = store;
    const expirySeconds = Math.floor(nowMs() / 1000) + state.certificateSeconds;
    const { lasId, grants } = verdict;
    const decided = this.#decisions();
    const group = state.lases.find((las) => las.lasId === lasId)?.group;
    if (memberIndex !== null) this.#takeMember(memberIndex, staticKey, { group, expirySeconds, keyReport });
    const { kind, measurement } = verdict.facts;
    const who = { role, memberIndex, staticKey, profile, grants: grants ?? null };
    this.#audit('admitted', { ...who, lasId, kind, measurement, expirySeconds, address });
    // Of a client only the log's head is new in it: so admissions can't be cut from the log unseen.
    this.#standing.checkHeld(await store.written());
    // Operators may have decided otherwise meanwhile, and members have taken the place of others.
    if (this.#decisions() !== decided) {
      const now = this.#judge(request);
      if (!now.ok) return refuse(now);
      if (now.grants !== grants) throw new Refused('later', 'the profile has changed meanwhile: join again');
    }
    this.#options.onEvent({
      type: 'admitted',
      role,
      memberIndex,
      lasId,
      kind,
      ms: this.#nonces.ageMs(request.nonce, nowMs()),
    });
    const certificate = issueCertificate(
      {
        ...(memberIndex !== null
          ? { role: 'replica', memberIndex }
          : { role: 'client', grants: parseGrants(grants ?? '') }),
        staticKey: bytesOfHex(staticKey),
        clusterId: bytesOfHex(state.clusterId),
        expirySeconds,
        ...(group !== undefined && { voucherGroup: group }),
      },
      store.clusterSecretKey,
    );
    return {
      certificate: toBase64(certificate),
      expirySeconds,
      heldCounter: store.heldCounter,
      sealedKeys: request.wantsDataKeys ? toBase64(this.#sealedKeys(request.deliveryKey, grants)) : null,
    };
  }

  /** Takes the steps that are due: of data keys, and of members whose certificates have ended. To be called about once a second. */
  async tick(): Promise<void> {
    if (!this.isServing) return;
    const { store, nowMs, onEvent } = this.#options;
    const lapsed = lapseMembers(store.state, nowMs());
    const steps = advanceKeys(store.state, nowMs());
    if (steps.length === 0 && lapsed.length === 0) return;
    for (const memberIndex of lapsed) {
      const { staticKey, expirySeconds } = store.state.members[memberIndex]!;
      this.#audit('lapsed', { memberIndex, staticKey, expirySeconds });
    }
    for (const { id, space, phase } of steps) this.#audit('data-key', { dataKeyId: id, space, phase });
    this.#standing.note(await store.written());
    for (const memberIndex of lapsed) onEvent({ type: 'lapsed', memberIndex });
    for (const step of steps) onEvent({ type: 'data-key', ...step });
  }

  /**
   * As it lies on the disk: what a crash would take back is told to nobody.
   * @throws Refused while CAS does not serve: an old state would give members and keys back that were revoked.
   */
  configuration(): Publication & { heldCounter: number } {
    this.#standing.checkServing();
    return { ...this.#publication, heldCounter: this.#options.store.heldCounter };
  }

  /** A command that an operator has signed. */
  async operate(
    request: { operator: string; document: SignedDocument },
    address: string,
  ): Promise<{ done: string; list?: ProfileList }> {
    const { store, nowMs } = this.#options;
    const opened = this.#commands.open(request);
    if (opened === undefined) {
      return this.#refusals.refuse(
        'operator-refused',
        refuseBy('signature', 'a command signed by an operator', 'another'),
        {
          operator: request.operator,
          address,
        },
      );
    }
    const refuse = (refusal: AdmissionRefusal): never =>
      this.#refusals.refuse('operator-refused', refusal, {
        operator: request.operator,
        command: opened.command.type,
        address,
      });
    spendNonce(this.#nonces, opened.nonce, nowMs(), refuse);
    if (opened.command.type === 'confirm-state') {
      const { stateCounter } = opened.command;
      const { counter } = store.state;
      if (stateCounter !== counter) return refuse(refuseBy('state', `state ${counter}`, `state ${stateCounter}`));
      if (this.#standing.isOvertaken) this.#standing.checkServing();
      await this.#standing.confirm(request.operator);
      return { done: `CAS serves from state ${stateCounter}` };
    }
    this.#standing.checkServing();
    const outcome = this.#commands.carryOut(request.operator, opened.command, nowMs());
    if ('rule' in outcome) return refuse(outcome);
    const { done, detail, list } = outcome;
    this.#audit('operator-command', { operator: request.operator, command: opened.command.type, ...detail, address });
    if (list !== undefined) return { done, list };
    const verdict = await store.written();
    this.#standing.checkOvertaken(verdict);
    return { done: `${done}${this.#standing.unheldText(verdict)}` };
  }

  /**
   * All of a replica's; a client's are those of the spaces that one of its grants to read has as a whole. Of the others it
   * could open what it may not read.
   */
  #sealedKeys(deliveryKey: string, grants: string | undefined): Uint8Array {
    const { spaces, dataKeys, keySequence: sequence, lastDataKeyId: lastId } = this.#options.store.state;
    const permissions = grants === undefined ? Permissions.ALL : new Permissions(parseGrants(grants));
    const covered = spaces.filter(({ prefixHex }) => {
      return permissions.covers(RIGHT_READ, new KeyPrefix(bytesOfHex(prefixHex)));
    });
    const names = new Set(covered.map(({ name }) => name));
    const keys = dataKeys.filter(({ space }) => names.has(space)).map(({ id, key }) => ({ id, key }));
    const content: DataKeysContent = { sequence, lastId, spaces, keys };
    return sealTo(new TextEncoder().encode(JSON.stringify(content)), bytesOfHex(deliveryKey));
  }

  /** The key that held the place, of a process that has ended while the cluster formed, is worth nothing from now on. */
  #takeMember(
    memberIndex: number,
    staticKey: string,
    {
      group,
      expirySeconds,
      keyReport,
    }: { group: number | undefined; expirySeconds: number; keyReport: JoinRequest['keyReport'] },
  ): void {
    const { state } = this.#options.store;
    const member = state.members[memberIndex]!;
    if (member.staticKey !== staticKey) {
      if (member.staticKey !== null) revokeKeys(state, [member.staticKey], this.#options.nowMs() / 1000);
      Object.assign(member, NOBODY, { staticKey });
    } else if (keyReport !== undefined) {
      member.keyReport = keyReport;
    }
    // It stands in the list of revocations no more.
    if (member.hasLapsed) state.revocationSequence++;
    member.hasLapsed = false;
    member.expirySeconds = expirySeconds;
    if (group !== undefined) member.group = group;
  }

  #judge(request: JoinRequest): JoinVerdict {
    const { store, judge, nowMs } = this.#options;
    const times = { nowMs: nowMs(), nonceAgeMs: this.#nonces.ageMs(request.nonce, nowMs()) };
    return judgeJoin(request, store.state, this.#policy.policy, judge, times);
  }

  /** Another text when policy, profiles or revocations have changed. */
  #decisions(): string {
    return `${this.#policy.hash} ${this.#options.store.state.revocationSequence}`;
  }

  #audit(...[event, detail]: Parameters<CasStore['audit']>): void {
    this.#options.store.audit(event, detail);
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
