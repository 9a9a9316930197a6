import { configurationContent } from '../cluster-configuration.ts';
import { bytesOfHex } from '../hex.ts';
import type { CasState } from './cas-state.ts';
import type { DataKeyList } from './messages.ts';
import { revocationsOf } from './revocations.ts';
import { documentJson, signDocument } from './signed-document.ts';

/** What CAS tells whoever asks: members, revocations, and how far data keys have come; each signed by the cluster key. */
export interface Publication {
  /** Members that have not joined. */
  readonly missing: number[];
  /** Null while there are any. */
  readonly configuration: object | null;
  /** REVOCATIONS */
  readonly revocations: object;
  /** DATA_KEY_LIST */
  readonly dataKeys: object;
}

export function publicationOf(state: CasState): Publication {
  const missing = state.members.flatMap(({ staticKey }, i) => (staticKey === null ? [i] : []));
  const secretKey = bytesOfHex(state.clusterSecretKey);
  return {
    missing,
    configuration: missing.length > 0 ? null : configurationOf(state, secretKey),
    revocations: documentJson(signDocument('revocations', revocationsOf(state), secretKey)),
    dataKeys: documentJson(signDocument('data keys', keyListOf(state), secretKey)),
  };
}

function configurationOf(state: CasState, secretKey: Uint8Array): object {
  const members = state.members.map(({ host, port, staticKey }, index) => ({
    index,
    host,
    port,
    staticKey: bytesOfHex(staticKey ?? ''),
  }));
  const { mode, epoch } = state;
  const clusterPublicKey = bytesOfHex(state.clusterPublicKey);
  return configurationContent(
    { clusterId: bytesOfHex(state.clusterId), clusterPublicKey, mode, epoch, members },
    secretKey,
  );
}

function keyListOf(state: CasState): DataKeyList {
  const { clusterId, keySequence: sequence, lastDataKeyId: lastId, refreshSeconds, spaces, dataKeys } = state;
  const keys = dataKeys.map(({ id, space, phase }) => ({ id, space, phase }));
  const destroyed = state.destroyedKeys.map(({ id }) => id);
  return { clusterId, sequence, lastId, destroyed, refreshSeconds, spaces, keys };
}
