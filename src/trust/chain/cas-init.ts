import type { SecurityMode } from '../../../net/mode.ts';
import { generateSigningKeyPair, randomBytes } from '../../../workers/signing.ts';
import { hexOf } from '../hex.ts';
import { DEFAULT_PROFILE } from '../profile-name.ts';
import { DEFAULT_SPACE, spacesProblem } from '../key-space.ts';
import type { KeySpace } from '../key-space.ts';
import { checkMembers } from '../cluster-directory.ts';
import { AvocadoError } from '../../errors.ts';
import { AUDIT_START } from './audit-log.ts';
import { NOBODY } from './cas-state.ts';
import type { CasState } from './cas-state.ts';
import { OPERATORS_MAX } from './operators-max.ts';
import { DEFAULT_GRANTS, newProfile, PROFILES_MAX } from './profiles.ts';
import type { Profile } from './profiles.ts';

/** What an operator decides when a cluster is made; later only his signed commands change anything. */
export interface CasSettings {
  readonly mode: SecurityMode;
  readonly members: readonly { readonly host: string; readonly port: number }[];
  /** Text of the policy file. */
  readonly policy: string;
  /** By whose word replicas and clients are admitted. */
  readonly admission: CasState['admission'];
  readonly certificateSeconds: number;
  /** Of clients; left out: the default one, with all rights. */
  readonly profiles?: readonly Profile[];
  /** Beside the one called default, which has the empty prefix. */
  readonly spaces?: readonly KeySpace[];
  /** How often members and clients look at what CAS has changed; default: 10. */
  readonly refreshSeconds?: number;
  /** Hex of Ed25519 public keys whose commands are obeyed. */
  readonly operators: readonly string[];
  /** So many of them replace the policy together. */
  readonly policyThreshold: number;
}

const CLUSTER_ID_BYTES = 16;
const KEY_BYTES = 32;
const REFRESH_SECONDS_DEFAULT = 10;

/** A new cluster with new keys, before anybody has joined. @throws AvocadoError INVALID_ARGUMENT. */
export function newCasState(settings: CasSettings): CasState {
  checkMembers(settings.members);
  const { operators, policyThreshold } = settings;
  if (policyThreshold < 1 || policyThreshold > operators.length || operators.length > OPERATORS_MAX) {
    const most = Math.min(operators.length, OPERATORS_MAX);
    throw new AvocadoError('INVALID_ARGUMENT', `the threshold of operators is from 1 to their count, ${most}`);
  }
  const spaces: KeySpace[] = [{ name: DEFAULT_SPACE, prefix: new Uint8Array(0) }, ...(settings.spaces ?? [])];
  const problem = spacesProblem(spaces);
  if (problem !== undefined) throw new AvocadoError('INVALID_ARGUMENT', problem);
  const profiles = [...(settings.profiles ?? [newProfile(DEFAULT_PROFILE, DEFAULT_GRANTS)])];
  if (new Set(profiles.map(({ name }) => name)).size < profiles.length || profiles.length > PROFILES_MAX) {
    throw new AvocadoError('INVALID_ARGUMENT', `a cluster has at most ${PROFILES_MAX} profiles, each of another name`);
  }
  const clusterKey = generateSigningKeyPair();
  return {
    counter: 0,
    clusterId: hexOf(randomBytes(CLUSTER_ID_BYTES)),
    mode: settings.mode,
    clusterPublicKey: hexOf(clusterKey.publicKey),
    clusterSecretKey: hexOf(clusterKey.secretKey),
    recoveryKey: hexOf(randomBytes(KEY_BYTES)),
    spaces: spaces.map(({ name, prefix }, i) => ({ name, prefixHex: hexOf(prefix), currentDataKeyId: i + 1 })),
    dataKeys: spaces.map(({ name }, i) => ({
      id: i + 1,
      space: name,
      key: hexOf(randomBytes(KEY_BYTES)),
      phase: 'current',
      sinceMs: 0,
    })),
    lastDataKeyId: spaces.length,
    destroyedKeys: [],
    keySequence: 0,
    refreshSeconds: settings.refreshSeconds ?? REFRESH_SECONDS_DEFAULT,
    policy: settings.policy,
    admission: settings.admission,
    certificateSeconds: settings.certificateSeconds,
    operators: [...operators],
    policyThreshold,
    profiles,
    epoch: 1,
    epochsSkipped: 0,
    members: settings.members.map(({ host, port }) => ({ host, port, ...NOBODY })),
    lases: [],
    revoked: [],
    revocationSequence: 0,
    audit: { ...AUDIT_START },
  };
}
