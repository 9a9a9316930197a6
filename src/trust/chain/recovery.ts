import { join } from 'node:path';
import { z } from 'zod';
import { hash } from '../../../workers/signing.ts';
import type { KeyPair } from '../../../workers/signing.ts';
import { openSealedTo, sealTo } from '../../../workers/secret-box.ts';
import { combineShares, SHARES_MAX, splitSecret } from '../../../workers/secret-shares.ts';
import { createTlsIdentity } from '../../../workers/tls-identity.ts';
import { AvocadoError } from '../../errors.ts';
import { fileError } from '../cluster-files.ts';
import { writeEvidence } from '../evidence/evidence-file.ts';
import { base64Bytes, hexOfBytes, parseStrictJson } from '../evidence/strict-json.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { BACKUP_FILE, openState } from './cas-state.ts';
import type { CasState } from './cas-state.ts';
import type { CasConnection } from './cas-connection.ts';
import { openService, Refused, route } from './https-service.ts';
import { IDENTITY_REQUEST, OPERATOR_ANSWER, RECOVER_REQUEST } from './messages.ts';
import type { CasDocument } from './messages.ts';
import type { Platform } from './platform.ts';
import { reportDataFor } from './report-data.ts';
import { readSecretBytes, readSecretFile, writeSecretFile } from './secret-file.ts';

/**
 * When the machine of CAS is lost, its sealed state is lost with it. The backup beside it opens with the recovery key, which
 * exists only in the state and in shares: one an operator, each sealed to the operator's own key when the cluster was made,
 * any k of which give it back. Operators send them to a CAS in its enclave, which they verify first; so no operator and no
 * host ever has k of them.
 */
export const SHARES_FILE = 'recovery-shares.json';

const FILE = z.strictObject({
  clusterId: hexOfBytes(16),
  clusterPublicKey: hexOfBytes(32),
  threshold: z.int().min(1).max(SHARES_MAX),
  shares: z
    .array(z.strictObject({ recoveryKey: hexOfBytes(32), sealed: base64Bytes(1, 256), shareHash: hexOfBytes(32) }))
    .min(1)
    .max(SHARES_MAX),
});
type SharesFile = z.output<typeof FILE>;
const FILE_CHARS_MAX = 64 * 1024;
const REQUESTS_PER_SECOND = 20;

export interface RecoverySettings {
  /** Hex of X25519 public keys, one an operator. */
  readonly recoveryKeys: readonly string[];
  /** So many of them are needed. */
  readonly threshold: number;
}

/** A threshold of one is no sharing: each then holds the whole key. */
export async function writeRecoveryShares(
  directory: string,
  state: CasState,
  { recoveryKeys, threshold }: RecoverySettings,
): Promise<void> {
  if (threshold < 1 || threshold > recoveryKeys.length || recoveryKeys.length > SHARES_MAX) {
    const most = Math.min(recoveryKeys.length, SHARES_MAX);
    throw new AvocadoError('INVALID_ARGUMENT', `the recovery threshold is from 1 to the operators' count, ${most}`);
  }
  const secret = bytesOfHex(state.recoveryKey);
  const shares =
    threshold === 1 ? recoveryKeys.map(() => secret) : await splitSecret(secret, recoveryKeys.length, threshold);
  const content = {
    clusterId: state.clusterId,
    clusterPublicKey: state.clusterPublicKey,
    threshold,
    shares: recoveryKeys.map((recoveryKey, i) => ({
      recoveryKey,
      sealed: Buffer.from(sealTo(shares[i]!, bytesOfHex(recoveryKey))).toString('base64'),
      // A share is random: nothing is told of it, and no stranger can spoil a recovery with one of his own.
      shareHash: hexOf(hash(shares[i]!)),
    })),
  };
  writeSecretFile(join(directory, SHARES_FILE), `${JSON.stringify(content, null, 2)}\n`, 'replace');
}

/** @throws AvocadoError CLUSTER_FILES, EVIDENCE_FILES. */
export function readRecoveryShares(path: string): SharesFile {
  const text = readSecretFile(path);
  if (text === undefined) throw fileError(path, 'is missing: copy it from the directory of the CAS that is lost');
  return parseStrictJson(text, FILE, path, FILE_CHARS_MAX);
}

/**
 * The operator's side: opens the own share and sends it to a CAS that was verified.
 * @returns What CAS says.
 */
export async function giveShare(cas: CasConnection, keys: KeyPair, shares: SharesFile): Promise<string> {
  const own = shares.shares.find(({ recoveryKey }) => recoveryKey === hexOf(keys.publicKey));
  const share = own === undefined ? undefined : openSealedTo(own.sealed, keys);
  if (share === undefined) {
    throw new AvocadoError('INVALID_ARGUMENT', "none of the shares is sealed to this operator's key");
  }
  const content = { share: Buffer.from(share).toString('base64') };
  return (await cas.call('/v1/recover', content, OPERATOR_ANSWER)).done;
}

export interface RecoveryOptions {
  /** With the backup and the shares file. */
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly platform: Platform;
  readonly signal?: AbortSignal;
  readonly nowMs: () => number;
  readonly onWaiting: (url: string, threshold: number) => void;
  readonly onError: (error: unknown) => void;
}

/** Waits for enough shares, as a service that does nothing else. @throws AvocadoError CLUSTER_FILES, EVIDENCE_FILES. */
export async function recoverState(options: RecoveryOptions): Promise<CasState> {
  const { directory, host, port, platform, nowMs, onError } = options;
  const path = join(directory, BACKUP_FILE);
  const backup = readSecretBytes(path);
  if (backup === undefined) throw fileError(path, 'is missing: copy it from the directory of the CAS that is lost');
  const file = readRecoveryShares(join(directory, SHARES_FILE));
  const tls = createTlsIdentity('avocado cas', nowMs());
  const collected = new Map<string, Uint8Array>();
  let onState: (state: CasState) => void = () => {};
  const recovered = new Promise<CasState>((resolve) => {
    onState = resolve;
  });
  const take = async (share: Uint8Array): Promise<{ done: string }> => {
    const shareHash = hexOf(hash(share));
    if (!file.shares.some((known) => known.shareHash === shareHash)) {
      throw new Refused('refused', `this is none of the shares of ${SHARES_FILE}: give the one of this cluster's file`);
    }
    collected.set(shareHash, share);
    if (collected.size < file.threshold) {
      return { done: `CAS has ${collected.size} of ${file.threshold} shares that it needs` };
    }
    const shares = [...collected.values()];
    const key = file.threshold === 1 ? shares[0] : await combineShares(shares);
    const state = key?.length === KEY_BYTES ? openState(backup, key, 'backup') : undefined;
    if (state === undefined || state.clusterPublicKey !== file.clusterPublicKey) {
      throw new Refused(
        'refused',
        `these shares do not open the backup: ${BACKUP_FILE} and ${SHARES_FILE} are of one cluster`,
      );
    }
    onState(state);
    return { done: 'CAS has recovered its state' };
  };
  const service = await openService({
    host,
    port,
    tls,
    requestsPerSecond: REQUESTS_PER_SECOND,
    onError,
    routes: new Map([
      ['/v1/identity', route(IDENTITY_REQUEST, ({ nonce }) => identity(file, platform, tls.certificateDer, nonce))],
      ['/v1/recover', route(RECOVER_REQUEST, ({ share }) => take(share))],
    ]),
  });
  const aborted = new Promise<never>((_, reject) => {
    options.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error), { once: true });
  });
  try {
    options.onWaiting(service.url, file.threshold);
    const state = await Promise.race([recovered, aborted]);
    // The last operator is to get his answer.
    await new Promise((resolve) => setTimeout(resolve, LAST_ANSWER_MS));
    return state;
  } finally {
    await service.close();
  }
}

const KEY_BYTES = 32;
const LAST_ANSWER_MS = 200;
const NOTHING = '0'.repeat(64);

/** What it says of a cluster it has read from a file; what counts is that it is CAS that says it. */
async function identity(
  { clusterId, clusterPublicKey, threshold }: SharesFile,
  platform: Platform,
  tlsCertificate: Uint8Array,
  nonce: string,
): Promise<{ document: string; evidence: string }> {
  const content: CasDocument = {
    clusterId,
    clusterPublicKey,
    mode: 'secure',
    state: 'recovering',
    policyHash: NOTHING,
    operators: [],
    policyThreshold: threshold,
    stateCounter: 0,
    auditCount: 0,
    dataKeys: [],
    destroyedKeys: [],
    auditHead: NOTHING,
  };
  const document = JSON.stringify(content);
  const reportData = reportDataFor('cas identity', [nonce, tlsCertificate, document]);
  return { document, evidence: writeEvidence(await platform.provider.makeEvidence(reportData)) };
}
