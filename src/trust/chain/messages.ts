import { z } from 'zod';
import { SECURITY_MODES } from '../../../net/mode.ts';
import { CERTIFICATE_BYTES_MAX, CERTIFICATE_BYTES_MIN } from '../certificate.ts';
import { EVIDENCE_CHARS_MAX } from '../evidence/evidence-file.ts';
import { EVIDENCE_KINDS } from '../evidence/evidence.ts';
import type { MeasuredFacts } from '../evidence/evidence.ts';
import { base64Bytes, hexOfBytes } from '../evidence/strict-json.ts';
import { MEMBER_COUNT_MAX } from '../cluster-configuration.ts';
import { OPERATORS_MAX } from './operators-max.ts';
import { KEY_PREFIX_BYTES_MAX } from '../key-prefix.ts';
import { SPACE_NAME as SPACE_NAME_PATTERN, SPACES_MAX } from '../key-space.ts';
import { PROFILE, PROFILE_NAME, PROFILES_MAX } from './profiles.ts';
import { SIGNED_DOCUMENT } from './signed-document.ts';

/** All that CAS, LAS, replicas and clients say to each other, as JSON. Nothing is read that isn't listed; all is bounded. */
const KEY = hexOfBytes(32);
const NONCE = hexOfBytes(32);
const CLUSTER_ID = hexOfBytes(16);
const LAS_ID = hexOfBytes(8);
const ROLE = z.enum(['replica', 'client']);
const MEMBER_INDEX = z
  .int()
  .min(0)
  .max(MEMBER_COUNT_MAX - 1)
  .nullable();
const COUNT = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const EVIDENCE = z.string().max(EVIDENCE_CHARS_MAX);
const URL_TEXT = z
  .string()
  .max(300)
  .regex(/^https:\/\/[A-Za-z0-9.:[\]_-]+$/, 'must be https://host:port');
const TLS_CERTIFICATE = base64Bytes(1, 8 * 1024);
const SEALED = base64Bytes(1, 64 * 1024);

/** Zero is none. */
export const DATA_KEY_ID_MAX = 0xffff_ffff;
export const DATA_KEY_ID = z.int().min(1).max(DATA_KEY_ID_MAX);
/** Of each space the current one, and those that values still lie under. */
export const DATA_KEYS_MAX = 4 * SPACES_MAX;
export const DESTROYED_KEPT_MAX = 64;
export const SPACE_NAME = z.string().regex(SPACE_NAME_PATTERN);
export const KEY_SPACES = z
  .array(
    z.strictObject({
      name: SPACE_NAME,
      prefixHex: z
        .string()
        .max(2 * KEY_PREFIX_BYTES_MAX)
        .regex(/^(?:[0-9a-f]{2})*$/),
      currentDataKeyId: DATA_KEY_ID,
    }),
  )
  .min(1)
  .max(SPACES_MAX);
/** A rotation waits for some of them; revocations take effect as late. */
export const REFRESH_SECONDS = z.int().min(1).max(60);
/** A data key's way from the first process that has it to nobody (key-rotation.ts). */
export const KEY_PHASES = ['announced', 'current', 'retiring', 'closing'] as const;
const DATA_KEY_IDS = z.array(DATA_KEY_ID).max(DATA_KEYS_MAX);
export const KEY_REPORT = z.strictObject({ held: DATA_KEY_IDS, unused: DATA_KEY_IDS, closed: DATA_KEY_IDS });

/** Of CAS: 'unconfirmed' waits for witnesses or operators, 'recovering' for recovery keys. */
export const CAS_STATES = ['serving', 'unconfirmed', 'recovering'] as const;

/** What CAS says of itself; its evidence binds the text. */
export const CAS_DOCUMENT = z.strictObject({
  clusterId: CLUSTER_ID,
  clusterPublicKey: KEY,
  mode: z.enum(SECURITY_MODES),
  state: z.enum(CAS_STATES),
  /** BLAKE2b-256 of the policy's text and of the settings beside it. */
  policyHash: KEY,
  operators: z.array(KEY).max(OPERATORS_MAX),
  /** So many of them replace the policy together. */
  policyThreshold: z.int().min(1).max(OPERATORS_MAX),
  stateCounter: COUNT,
  auditCount: COUNT,
  auditHead: KEY,
  /** With the members that each of them waits for. */
  dataKeys: z
    .array(
      z.strictObject({
        id: DATA_KEY_ID,
        space: SPACE_NAME,
        phase: z.enum(KEY_PHASES),
        waitsFor: z.array(z.int().min(0)).max(MEMBER_COUNT_MAX),
      }),
    )
    .max(DATA_KEYS_MAX),
  /** The latest of them. */
  destroyedKeys: z.array(DATA_KEY_ID).max(DESTROYED_KEPT_MAX),
});
export type CasDocument = z.output<typeof CAS_DOCUMENT>;

export const EMPTY_REQUEST = z.strictObject({});
export const IDENTITY_REQUEST = z.strictObject({ nonce: NONCE });
export const IDENTITY_ANSWER = z.strictObject({ document: z.string().max(32 * 1024), evidence: EVIDENCE });
export const NONCE_ANSWER = z.strictObject({ nonce: NONCE });

export const REGISTER_REQUEST = z.strictObject({
  nonce: NONCE,
  url: URL_TEXT,
  tlsCertificate: TLS_CERTIFICATE,
  voucherKey: KEY,
  evidence: EVIDENCE,
});
export type RegisterRequest = z.output<typeof REGISTER_REQUEST>;
export const REGISTER_ANSWER = z.strictObject({ certificate: SIGNED_DOCUMENT });

/** CAS's word that a key is the voucher key of an attested LAS. */
export const LAS_CERTIFICATE = z.strictObject({
  clusterId: CLUSTER_ID,
  lasId: LAS_ID,
  voucherKey: KEY,
  kind: z.enum(EVIDENCE_KINDS),
  measurement: z.string().max(128),
  platformId: z.string().max(256).nullable(),
  expirySeconds: COUNT,
});
export type LasCertificate = z.output<typeof LAS_CERTIFICATE>;

const CLAIM = {
  role: ROLE,
  memberIndex: MEMBER_INDEX,
  nonce: NONCE,
  staticKey: KEY,
  deliveryKey: KEY,
  profile: PROFILE_NAME.nullable(),
  keyReport: KEY_REPORT.optional(),
};

/** Facts on their way from LAS to CAS: what a policy judges, without report data (the voucher names it) and texts. */
const FACTS = z.strictObject({
  kind: z.enum(EVIDENCE_KINDS),
  measurement: z.string().max(128),
  signers: z.array(z.string().max(128)).max(16),
  registers: z.record(z.string().max(64), z.string().max(256)).refine((record) => Object.keys(record).length <= 64),
  tcb: z.record(z.string().max(64), z.int()).refine((record) => Object.keys(record).length <= 64),
  tcbStatus: z.string().max(64).nullable(),
  advisoryIds: z.array(z.string().max(64)).max(256),
  debug: z.boolean(),
  migrationAgent: z.boolean(),
  platformId: z.string().max(256).nullable(),
  vmpl: z.int().nullable(),
  revocationChecked: z.boolean(),
  validFromMs: z.number(),
  validUntilMs: z.number(),
});
export type VoucherFacts = z.output<typeof FACTS>;

export const VOUCHER = z.strictObject({
  ...CLAIM,
  clusterId: CLUSTER_ID,
  lasId: LAS_ID,
  facts: FACTS,
  /** From when CAS made the nonce, by CAS's own clock: hosts' clocks need not agree. */
  lifeSeconds: z.int().min(1).max(60),
});
export type Voucher = z.output<typeof VOUCHER>;

/** Where the platform has no local reports: evidence, which LAS verifies for the same chip. */
export const VOUCHER_REQUEST = z.strictObject({
  ...CLAIM,
  proof: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('local-report'), report: base64Bytes(1, 4 * 1024) }),
    z.strictObject({ type: z.literal('evidence'), evidence: EVIDENCE }),
  ]),
});
export const VOUCHER_ANSWER = z.strictObject({ voucher: SIGNED_DOCUMENT });

export const JOIN_REQUEST = z.strictObject({
  ...CLAIM,
  /** A client of the coordinated route needs none. */
  wantsDataKeys: z.boolean(),
  /** By the enrolment key of the profile, over the report data (profiles.ts). */
  enrolment: base64Bytes(64, 64).nullable(),
  proof: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('voucher'), voucher: SIGNED_DOCUMENT }),
    z.strictObject({ type: z.literal('evidence'), evidence: EVIDENCE }),
  ]),
});
export type JoinRequest = z.output<typeof JOIN_REQUEST>;
export const JOIN_ANSWER = z.strictObject({
  certificate: base64Bytes(CERTIFICATE_BYTES_MIN, CERTIFICATE_BYTES_MAX),
  expirySeconds: COUNT,
  heldCounter: COUNT,
  /** Sealed to the delivery key: DATA_KEYS. */
  sealedKeys: SEALED.nullable(),
});

/** All spaces, and the keys that the receiver is to have: of those that it has none of it knows at least that. */
export const DATA_KEYS = z.strictObject({
  /** Of the list below, at that time. */
  sequence: COUNT,
  /** Of the keys that there were at that time, the last. */
  lastId: DATA_KEY_ID,
  spaces: KEY_SPACES,
  keys: z.array(z.strictObject({ id: DATA_KEY_ID, key: KEY })).max(DATA_KEYS_MAX),
});
export type DataKeysContent = z.output<typeof DATA_KEYS>;

export const CONFIGURATION_ANSWER = z.strictObject({
  /** Of the latest state that witnesses, or an operator, have held for the newest; a lower one than was seen is refused. */
  heldCounter: COUNT,
  /** Members that have not joined; none: the configuration is whole. */
  missing: z.array(z.int().min(0)).max(MEMBER_COUNT_MAX),
  /** As in cluster.json, signed; null while members are missing. */
  configuration: z.record(z.string().max(64), z.unknown()).nullable(),
  revocations: SIGNED_DOCUMENT,
  /** DATA_KEY_LIST. */
  dataKeys: SIGNED_DOCUMENT,
});
/** Which data keys there are and how far each has come; of no key more than its id. */
export const DATA_KEY_LIST = z.strictObject({
  clusterId: CLUSTER_ID,
  /** Grows with each change; a lower one than was seen is refused. */
  sequence: COUNT,
  /** The highest id that was ever given out. */
  lastId: DATA_KEY_ID,
  /** The latest of those that were destroyed. A key that is in no list is one that a lost state of CAS had. */
  destroyed: z.array(DATA_KEY_ID).max(DESTROYED_KEPT_MAX),
  /** How often it is to be looked at. */
  refreshSeconds: REFRESH_SECONDS,
  spaces: KEY_SPACES,
  keys: z
    .array(z.strictObject({ id: DATA_KEY_ID, space: SPACE_NAME, phase: z.enum(KEY_PHASES) }))
    .min(1)
    .max(DATA_KEYS_MAX),
});
export type DataKeyList = z.output<typeof DATA_KEY_LIST>;
export const REVOCATIONS_MAX = 4_096;
export const REVOCATIONS = z.strictObject({
  clusterId: CLUSTER_ID,
  /** Grows with each change; a lower one than was seen is refused. */
  sequence: COUNT,
  /** Those that operators have revoked, and members whose certificates are worth nothing any more. */
  staticKeys: z.array(KEY).max(REVOCATIONS_MAX + MEMBER_COUNT_MAX),
  /** Of revoked LASes: whatever they vouched for. */
  groups: z.array(z.int().min(1).max(0xffff)).max(1_024),
});
export type Revocations = z.output<typeof REVOCATIONS>;

/** Of CAS, about a state that it has written. */
export const WITNESS_WORD = z.strictObject({ clusterId: CLUSTER_ID, counter: COUNT, stateHash: KEY });
export type WitnessWord = z.output<typeof WITNESS_WORD>;
export const WITNESS_REQUEST = z.strictObject({ word: SIGNED_DOCUMENT });
export const WITNESS_ANSWER = z.strictObject({ held: SIGNED_DOCUMENT.nullable() });

/** Of a policy in a command: escaped twice on its way, and a request has 320 KiB. */
export const NEW_POLICY_CHARS_MAX = 64 * 1024;

export const OPERATOR_COMMAND = z.strictObject({
  clusterId: CLUSTER_ID,
  nonce: NONCE,
  command: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('revoke-key'), staticKey: KEY }),
    z.strictObject({ type: z.literal('revoke-las'), lasId: LAS_ID }),
    z.strictObject({ type: z.literal('re-form') }),
    /** Text of the policy file; the hash that CAS tells of the one that the operator has seen in force. */
    z.strictObject({ type: z.literal('set-policy'), policy: z.string().max(NEW_POLICY_CHARS_MAX), replaces: KEY }),
    z.strictObject({ type: z.literal('rotate-key'), space: SPACE_NAME }),
    z.strictObject({ type: z.literal('set-profile'), profile: PROFILE, replaces: KEY }),
    z.strictObject({ type: z.literal('remove-profile'), name: PROFILE_NAME }),
    z.strictObject({ type: z.literal('list-profiles') }),
    z.strictObject({ type: z.literal('confirm-state'), stateCounter: COUNT }),
  ]),
});
export type OperatorCommand = z.output<typeof OPERATOR_COMMAND>['command'];
export const OPERATOR_REQUEST = z.strictObject({ operator: KEY, document: SIGNED_DOCUMENT });

/** With all profiles an answer has at most 900 KiB. */
export const CLIENTS_LISTED_MAX = 1_000;
/** The profiles, and which clients have certificates by them. */
export const PROFILE_LIST = z.strictObject({
  profiles: z.array(PROFILE).max(PROFILES_MAX),
  /** The latest first. */
  clients: z
    .array(
      z.strictObject({
        staticKey: KEY,
        /** It may be gone by now. */
        profile: PROFILE_NAME,
        /** Who vouched for it; null: evidence of its own. */
        lasId: LAS_ID.nullable(),
        sinceMs: COUNT,
        /** Of the latest certificate. */
        expirySeconds: COUNT,
        /** Whether it has the grants that its profile has now. */
        hasGrantsOfNow: z.boolean(),
      }),
    )
    .max(CLIENTS_LISTED_MAX),
  /** Those that are not listed among them. */
  clientCount: COUNT,
  /** False: there were so many that CAS has forgotten some whose certificates may be good yet; the audit log has all. */
  isWhole: z.boolean(),
});
export type ProfileList = z.output<typeof PROFILE_LIST>;
export const OPERATOR_ANSWER = z.strictObject({ done: z.string().max(1024), list: PROFILE_LIST.optional() });

/** A share that its operator has opened, for a CAS that has lost its state. */
export const RECOVER_REQUEST = z.strictObject({ share: base64Bytes(1, 256) });

export function voucherFacts(facts: MeasuredFacts): VoucherFacts {
  const { reportData: _, shown: __, tcbStatus, platformId, vmpl, ...rest } = facts;
  return {
    ...rest,
    signers: [...facts.signers],
    registers: { ...facts.registers },
    tcb: { ...facts.tcb },
    advisoryIds: [...facts.advisoryIds],
    tcbStatus: tcbStatus ?? null,
    platformId: platformId ?? null,
    vmpl: vmpl ?? null,
  };
}

/** @param reportData What the claim beside the facts comes to. */
export function factsOfVoucher(facts: VoucherFacts, reportData: Uint8Array): MeasuredFacts {
  return {
    ...facts,
    tcbStatus: facts.tcbStatus ?? undefined,
    platformId: facts.platformId ?? undefined,
    vmpl: facts.vmpl ?? undefined,
    reportData,
    shown: [],
  };
}
