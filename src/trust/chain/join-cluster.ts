import { generateStaticKeyPair } from '../../../workers/signing.ts';
import { openSealedTo } from '../../../workers/secret-box.ts';
import { AvocadoError } from '../../errors.ts';
import type { CurrentSpace, DataKey } from '../data-key-ring.ts';
import type { KeyReport } from '../key-report.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { DEFAULT_PROFILE } from '../profile-name.ts';
import { writeEvidence } from '../evidence/evidence-file.ts';
import { parseStrictJson } from '../evidence/strict-json.ts';
import type { CasConnection } from './cas-connection.ts';
import { PinnedServer } from './https-call.ts';
import { DATA_KEYS, JOIN_ANSWER, VOUCHER_ANSWER } from './messages.ts';
import type { DataKeysContent } from './messages.ts';
import type { Platform } from './platform.ts';
import { signEnrolment } from './profiles.ts';
import { joinReportData } from './report-data.ts';
import type { JoinClaim } from './report-data.ts';
import { documentJson } from './signed-document.ts';

/** How one process is admitted: keys of its own, a report about them, a voucher for the report, a certificate for it. */
export interface JoinOptions {
  readonly role: 'replica' | 'client';
  /** Of a replica; null for a client. */
  readonly memberIndex: number | null;
  readonly wantsDataKeys: boolean;
  /** Of a client; left out: the default one. */
  readonly profile?: string | undefined;
  /** Ed25519 secret key of the profile, where CAS asks for its signature. */
  readonly enrolmentKey?: Uint8Array | undefined;
  readonly platform: Platform;
  /** The LAS of this host; undefined: CAS judges evidence of this process itself. */
  readonly lasUrl: string | undefined;
}

export interface Admission {
  readonly certificate: Uint8Array;
  readonly expirySeconds: number;
  /** Of CAS's state, in which this was decided. */
  readonly heldCounter: number;
  /** Undefined: none were asked for. */
  readonly keys: DeliveredKeys | undefined;
}

export interface DeliveredKeys {
  /** Of CAS's list of data keys, at that time. */
  readonly sequence: number;
  readonly lastId: number;
  readonly spaces: readonly CurrentSpace[];
  readonly keys: readonly DataKey[];
}

export type StaticKeyPair = ReturnType<typeof generateStaticKeyPair>;

const LAS_TIMEOUT_MS = 5_000;
const KEYS_CHARS_MAX = 64 * 1024;

/** @throws AvocadoError ADMISSION_REFUSED, TRUST_UNAVAILABLE, EVIDENCE_UNAVAILABLE. */
export async function join(
  cas: CasConnection,
  staticKeys: StaticKeyPair,
  options: JoinOptions,
  keyReport?: KeyReport,
): Promise<Admission> {
  const { role, memberIndex, wantsDataKeys, enrolmentKey } = options;
  // Of their own, used once: what is sealed to it stays closed when the static key is lost one day.
  const deliveryKeys = generateStaticKeyPair();
  const claim: JoinClaim = {
    role,
    memberIndex,
    nonce: await cas.nonce(),
    staticKey: hexOf(staticKeys.publicKey),
    deliveryKey: hexOf(deliveryKeys.publicKey),
    profile: role === 'client' ? (options.profile ?? DEFAULT_PROFILE) : null,
    ...(keyReport !== undefined && { keyReport }),
  };
  const proof = await prove(claim, options);
  const enrolment =
    enrolmentKey === undefined
      ? null
      : Buffer.from(signEnrolment(joinReportData(claim), enrolmentKey)).toString('base64');
  const answer = await cas.call('/v1/join', { ...claim, wantsDataKeys, enrolment, proof }, JOIN_ANSWER);
  const { certificate, expirySeconds, heldCounter, sealedKeys } = answer;
  if (!wantsDataKeys) return { certificate, expirySeconds, heldCounter, keys: undefined };
  const opened = sealedKeys === null ? undefined : openSealedTo(sealedKeys, deliveryKeys);
  if (opened === undefined) {
    throw new AvocadoError('ADMISSION_REFUSED', 'CAS sent data keys that do not open: they are for another process');
  }
  return { certificate, expirySeconds, heldCounter, keys: keysOf(new TextDecoder().decode(opened)) };
}

async function prove(claim: JoinClaim, { platform, lasUrl }: JoinOptions): Promise<object> {
  if (lasUrl === undefined) return evidenceProof(claim, platform);
  const proof = await localProof(claim, platform);
  return { type: 'voucher', voucher: documentJson(await askVoucher(lasUrl, { ...claim, proof })) };
}

/** For the LAS of this machine. */
export async function localProof(claim: JoinClaim, platform: Platform): Promise<object> {
  if (platform.local === undefined) return evidenceProof(claim, platform);
  const report = await platform.local.make(joinReportData(claim));
  return { type: 'local-report', report: Buffer.from(report).toString('base64') };
}

async function evidenceProof(claim: JoinClaim, platform: Platform): Promise<object> {
  return { type: 'evidence', evidence: writeEvidence(await platform.provider.makeEvidence(joinReportData(claim))) };
}

/** Whoever answers need not be trusted: CAS judges the voucher, and nothing here is secret. */
export async function askVoucher(lasUrl: string, request: object): Promise<Parameters<typeof documentJson>[0]> {
  const las = new PinnedServer('LAS', lasUrl);
  try {
    return (await las.call('/v1/voucher', request, VOUCHER_ANSWER, { timeoutMs: LAS_TIMEOUT_MS })).voucher;
  } finally {
    las.close();
  }
}

function keysOf(text: string): DeliveredKeys {
  const { sequence, lastId, spaces, keys } = parseStrictJson(text, DATA_KEYS, "CAS's data keys", KEYS_CHARS_MAX);
  return {
    sequence,
    lastId,
    spaces: currentSpaces(spaces),
    keys: keys.map(({ id, key }) => ({ id, key: bytesOfHex(key) })),
  };
}

/** As messages have them. */
export function currentSpaces(spaces: DataKeysContent['spaces']): CurrentSpace[] {
  return spaces.map(({ name, prefixHex, currentDataKeyId }) => ({
    name,
    prefix: bytesOfHex(prefixHex),
    currentId: currentDataKeyId,
  }));
}
