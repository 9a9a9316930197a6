import { z } from 'zod';
import { SECURITY_MODES } from '../../../net/mode.ts';
import { hash } from '../../../workers/signing.ts';
import { openBytes, sealBytes } from '../../../workers/secret-box.ts';
import { hexOf } from '../hex.ts';
import { isHost, MEMBER_COUNT_MAX } from '../cluster-configuration.ts';
import { EVIDENCE_KINDS } from '../evidence/evidence.ts';
import { POLICY_CHARS_MAX } from '../evidence/policy.ts';
import { base64Bytes, hexOfBytes } from '../evidence/strict-json.ts';
import { ADMISSIONS } from './admissions.ts';
import {
  DATA_KEY_ID,
  DATA_KEY_ID_MAX,
  DATA_KEYS_MAX,
  DESTROYED_KEPT_MAX,
  KEY_PHASES,
  KEY_REPORT,
  KEY_SPACES,
  REFRESH_SECONDS,
  REVOCATIONS_MAX,
  SPACE_NAME,
} from './messages.ts';
import { OPERATORS_MAX } from './operators-max.ts';
import { PROFILE, PROFILES_MAX } from './profiles.ts';

/**
 * All that CAS must not forget. It is one file, sealed under a key of the platform, and beside it the same sealed under the
 * recovery key, of which operators hold shares (recovery.ts).
 *
 *     "avocado cas state 1\n" | nonce (24) | XChaCha20-Poly1305 of the JSON below, with the line before as associated data
 */
const KEY = hexOfBytes(32);
const COUNT = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Machines, those included that are gone. */
export const LASES_MAX = 1_024;
const GROUP_MAX = 0xffff;

const STATE = z.strictObject({
  /** Grows with each state that is written. */
  counter: COUNT,
  clusterId: hexOfBytes(16),
  mode: z.enum(SECURITY_MODES),
  clusterPublicKey: KEY,
  clusterSecretKey: hexOfBytes(64),
  recoveryKey: KEY,
  /** Fixed with the cluster; which of its keys is current is not. */
  spaces: KEY_SPACES,
  /** Of all spaces. Ids are given out in order, and never again. */
  dataKeys: z
    .array(
      z.strictObject({
        id: DATA_KEY_ID,
        space: SPACE_NAME,
        key: KEY,
        phase: z.enum(KEY_PHASES),
        /** When the phase began, Unix milliseconds. */
        sinceMs: z.number().min(0),
      }),
    )
    .min(1)
    .max(DATA_KEYS_MAX),
  lastDataKeyId: DATA_KEY_ID,
  /** The latest ones, for people. */
  destroyedKeys: z
    .array(z.strictObject({ id: DATA_KEY_ID, space: SPACE_NAME, destroyedMs: COUNT }))
    .max(DESTROYED_KEPT_MAX),
  keySequence: COUNT,
  refreshSeconds: REFRESH_SECONDS,
  /** Text of the policy file. */
  policy: z.string().max(POLICY_CHARS_MAX),
  admission: z.enum(ADMISSIONS),
  certificateSeconds: z
    .int()
    .min(5)
    .max(365 * 86_400),
  operators: z.array(KEY).max(OPERATORS_MAX),
  /** So many of them replace the policy together. */
  policyThreshold: z.int().min(1).max(OPERATORS_MAX),
  /** Of clients. */
  profiles: z.array(PROFILE).max(PROFILES_MAX),
  epoch: z.int().min(1),
  /** Epochs that a later state, which is lost, may have begun. */
  epochsSkipped: COUNT.default(0),
  members: z
    .array(
      z.strictObject({
        host: z.string().refine(isHost, 'must be a host name or an IP address'),
        port: z.int().min(1).max(65_535),
        /** Null until it has joined. */
        staticKey: KEY.nullable(),
        /** Of the LAS that has vouched for the key; 0: none. */
        group: z.int().min(0).max(GROUP_MAX).default(0),
        /** Of the latest certificate for the key. */
        expirySeconds: COUNT.default(0),
        /** The certificate has ended, and no other was given. */
        hasLapsed: z.boolean().default(false),
        /** The latest of this key's holder. */
        keyReport: KEY_REPORT,
      }),
    )
    .min(1)
    .max(MEMBER_COUNT_MAX),
  /** Attested, and not replaced by a later one on their machine. */
  lases: z
    .array(
      z.strictObject({
        lasId: hexOfBytes(8),
        url: z.string().max(300),
        tlsCertificate: base64Bytes(1, 8 * 1024),
        voucherKey: KEY,
        kind: z.enum(EVIDENCE_KINDS),
        measurement: z.string().max(128),
        platformId: z.string().max(256).nullable(),
        expirySeconds: COUNT,
        /** Stands in the certificates of all that it vouches for; a machine keeps its one. */
        group: z.int().min(1).max(GROUP_MAX),
        revoked: z.boolean(),
      }),
    )
    .max(LASES_MAX),
  /** Until their certificates have expired. */
  revoked: z.array(z.strictObject({ staticKey: KEY, expirySeconds: COUNT })).max(REVOCATIONS_MAX),
  revocationSequence: COUNT,
  audit: z.strictObject({ count: COUNT, hash: KEY }),
});

export type CasState = z.output<typeof STATE>;
export type MemberRecord = CasState['members'][number];
export type LasRecord = CasState['lases'][number];
export type DataKeyRecord = CasState['dataKeys'][number];

export const EMPTY_REPORT: MemberRecord['keyReport'] = { held: [], unused: [], closed: [] };
/** Far more than a lost state can have been ahead by. */
const SKIPPED = 2 ** 20;
/** Ids have 32 bits. */
const SKIPPED_IDS = 1_024;

/**
 * For a state that may not be the newest: what it numbers from now on is higher than what a later one, that is lost, may have
 * numbered. So members that have seen the later one take what comes, and no data key gets an id that was given out.
 */
export function skipAhead(state: CasState): void {
  state.counter += SKIPPED;
  state.revocationSequence += SKIPPED;
  state.keySequence += SKIPPED;
  state.lastDataKeyId = Math.min(state.lastDataKeyId + SKIPPED_IDS, DATA_KEY_ID_MAX);
  state.epochsSkipped += SKIPPED_IDS;
}

/** In the place of a member that has not joined. */
export const NOBODY: Omit<MemberRecord, 'host' | 'port'> = {
  staticKey: null,
  group: 0,
  expirySeconds: 0,
  hasLapsed: false,
  keyReport: EMPTY_REPORT,
};

export const STATE_FILE = 'cas-state.sealed';
export const BACKUP_FILE = 'cas-backup.sealed';
export const AUDIT_FILE = 'audit.log';

const HEADS = { state: 'avocado cas state 1\n', backup: 'avocado cas backup 1\n' } as const;

export function sealState(state: CasState, key: Uint8Array, purpose: keyof typeof HEADS): Uint8Array {
  const head = new TextEncoder().encode(HEADS[purpose]);
  const content = {
    ...state,
    lases: state.lases.map((las) => ({ ...las, tlsCertificate: Buffer.from(las.tlsCertificate).toString('base64') })),
  };
  return Buffer.concat([head, sealBytes(new TextEncoder().encode(JSON.stringify(content)), head, key)]);
}

/** Undefined when it was not sealed with this key and for this purpose. */
export function openState(sealed: Uint8Array, key: Uint8Array, purpose: keyof typeof HEADS): CasState | undefined {
  const head = new TextEncoder().encode(HEADS[purpose]);
  if (Buffer.compare(sealed.subarray(0, head.length), head) !== 0) return undefined;
  const clear = openBytes(sealed.subarray(head.length), head, key);
  if (clear === undefined) return undefined;
  const result = STATE.safeParse(JSON.parse(new TextDecoder().decode(clear)));
  return result.success ? result.data : undefined;
}

export function stateHash(sealed: Uint8Array): string {
  return hexOf(hash(sealed));
}
