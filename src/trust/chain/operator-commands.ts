import { bytesOfHex } from '../hex.ts';
import type { AdmissionRefusal } from './admission.ts';
import type { AuditDetail } from './audit-log.ts';
import type { CasStore } from './cas-store.ts';
import { NOBODY } from './cas-state.ts';
import { announceKey } from './key-rotation.ts';
import { OPERATOR_COMMAND } from './messages.ts';
import type { OperatorCommand, ProfileList } from './messages.ts';
import { Refused } from './https-service.ts';
import type { PolicyInForce } from './policy-in-force.ts';
import { revokeKeys } from './revocations.ts';
import { openDocument } from './signed-document.ts';
import type { SignedDocument } from './signed-document.ts';

interface Outcome {
  /** For the operator. */
  readonly done: string;
  readonly detail: AuditDetail;
  readonly list?: ProfileList;
}

/** What operators may change in a running CAS. Each command is signed by one of them, for one cluster and one nonce. */
export class OperatorCommands {
  readonly #store: CasStore;
  readonly #policy: PolicyInForce;

  constructor(store: CasStore, policy: PolicyInForce) {
    this.#store = store;
    this.#policy = policy;
  }

  /** Undefined when none of the operators has signed it for this cluster. */
  open(request: {
    operator: string;
    document: SignedDocument;
  }): { command: OperatorCommand; nonce: string } | undefined {
    const { state } = this.#store;
    if (!state.operators.includes(request.operator)) return undefined;
    const opened = openDocument(request.document, 'operator command', OPERATOR_COMMAND, bytesOfHex(request.operator));
    return opened?.clusterId === state.clusterId ? opened : undefined;
  }

  /** @param operator Who has signed it. */
  carryOut(
    operator: string,
    command: Exclude<OperatorCommand, { type: 'confirm-state' }>,
    nowMs: number,
  ): Outcome | AdmissionRefusal {
    const nowSeconds = Math.floor(nowMs / 1000);
    switch (command.type) {
      case 'revoke-key':
        return this.#revokeKey(command.staticKey, nowSeconds);
      case 'revoke-las':
        return this.#revokeLas(command.lasId);
      case 're-form':
        return this.#reForm(nowSeconds);
      case 'set-policy':
      case 'set-profile':
        return this.#policy.approve(operator, command, nowMs);
      case 'rotate-key': {
        const { id, space } = announceKey(this.#store.state, command.space, nowMs);
        const done = `announced data key ${id} of key space ${space}: avocado cas show tells how far it has come`;
        return { done, detail: { space, dataKeyId: id } };
      }
      case 'remove-profile':
        return this.#removeProfile(command.name);
      case 'list-profiles': {
        const { state, clients } = this.#store;
        return { done: 'listed', detail: {}, list: clients.list(state, nowMs) };
      }
    }
  }

  #revokeKey(staticKey: string, nowSeconds: number): { done: string; detail: AuditDetail } {
    revokeKeys(this.#store.state, [staticKey], nowSeconds);
    return { done: `revoked key ${staticKey}`, detail: { staticKey } };
  }

  /** All that it vouched for goes with it: nobody knows what these processes are. */
  #revokeLas(lasId: string): { done: string; detail: AuditDetail } {
    const { state } = this.#store;
    const las = state.lases.find((each) => each.lasId === lasId);
    if (las === undefined) {
      const known = state.lases.map((each) => each.lasId).join(', ') || 'none';
      throw new Refused('refused', `there is no LAS ${lasId}; known are ${known}`);
    }
    las.revoked = true;
    state.revocationSequence++;
    return {
      done: `revoked LAS ${lasId}, its machine and everything that it vouched for`,
      detail: { lasId, group: las.group },
    };
  }

  /** It only takes rights away, from the next join or renewal on: one operator is enough. */
  #removeProfile(name: string): { done: string; detail: AuditDetail } {
    const { state } = this.#store;
    if (!state.profiles.some((profile) => profile.name === name)) {
      const known = state.profiles.map((profile) => profile.name).join(', ') || 'none';
      throw new Refused('refused', `there is no profile ${name}; known are ${known}`);
    }
    state.profiles = state.profiles.filter((profile) => profile.name !== name);
    return { done: `removed profile ${name}: nobody joins or renews with it any more`, detail: { profile: name } };
  }

  /** The next epoch begins with no members; what the old ones hold in memory is theirs alone. */
  #reForm(nowSeconds: number): { done: string; detail: AuditDetail } {
    const { state } = this.#store;
    const keys = state.members.flatMap(({ staticKey }) => staticKey ?? []);
    revokeKeys(state, keys, nowSeconds);
    for (const member of state.members) Object.assign(member, NOBODY);
    state.epoch += 1 + state.epochsSkipped;
    state.epochsSkipped = 0;
    return {
      done: `epoch ${state.epoch} waits for its ${state.members.length} members; those of the epoch before are revoked`,
      detail: { epoch: state.epoch },
    };
  }
}
