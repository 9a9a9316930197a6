import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { SecurityMode } from '../../net/mode.ts';
import { erase, generateSigningKeyPair, generateStaticKeyPair, randomBytes } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import type { Member } from './authority.ts';
import { CLUSTER_ID_BYTES, issueCertificate } from './certificate.ts';
import { isHost, isPort, MEMBER_COUNT_MAX, writeConfiguration } from './cluster-configuration.ts';
import {
  CLUSTER_FILE,
  CLUSTER_KEY_FILE,
  DATA_KEY_FILE,
  clientFile,
  fileError,
  isClusterFileName,
  replicaFile,
  writeClusterFile,
} from './cluster-files.ts';
import { ALL_GRANTS, RIGHT_READ } from './grants.ts';
import type { Grant } from './grants.ts';
import { hexOf } from './hex.ts';
import { KeyPrefix } from './key-prefix.ts';
import { Permissions } from './permissions.ts';
import { DEFAULT_PROFILE, PROFILE_NAME_PATTERN } from './profile-name.ts';

/**
 * A cluster directory: what `avocado init` writes; for tests, and clusters without attestation, in the place of CAS.
 *
 *     cluster.json       id, mode, epoch, members with their static keys; public, signed by the cluster key
 *     replica-<i>.json   static secret key and certificate of one replica
 *     client.json        static key pair and certificate of the clients without a name, which may do everything
 *     client-<name>.json the same of a client with fewer rights, and the data keys that it is to have
 *     data-key.json      the keys that values are sealed with
 *     cluster-key.json   signs certificates and configurations; no running process reads it
 *
 * A replica's host needs cluster.json, data-key.json and its own replica-<i>.json; a client's cluster.json,
 * data-key.json and client.json, or cluster.json and client-<name>.json. open-authority.ts reads them.
 */
export interface ClusterOptions {
  readonly directory: string;
  /** An odd number, 1 to 7: 2f+1 members survive f crashes. */
  readonly members: readonly { readonly host: string; readonly port: number }[];
  readonly mode: SecurityMode;
  /** Beside the one without a name, which has all rights. */
  readonly clients?: readonly NamedClient[];
  /** Replace the cluster that the directory holds. */
  readonly force?: boolean;
  /** How long the certificates are good for. */
  readonly certificateDays?: number;
  /** Unix time; now when left out. */
  readonly nowSeconds?: number;
}

export interface NamedClient {
  /** PROFILE_NAME_PATTERN, not DEFAULT_PROFILE. */
  readonly name: string;
  readonly grants: readonly Grant[];
}

export interface ClusterSummary {
  readonly directory: string;
  readonly clusterIdHex: string;
  readonly memberCount: number;
  readonly certificateExpirySeconds: number;
}

/** Nothing renews a certificate yet, and what lives in memory only is seldom older. */
export const CERTIFICATE_DAYS_DEFAULT = 365;

const DATA_KEY_BYTES = 32;
const FIRST_DATA_KEY_ID = 1;
const DIRECTORY_MODE = 0o700;
/** A directory has one key space. */
const ALL_KEYS = new KeyPrefix(new Uint8Array(0));

export function initClusterDirectory(options: ClusterOptions): ClusterSummary {
  checkMembers(options.members);
  checkClients(options.clients ?? []);
  const directory = resolve(options.directory);
  try {
    prepareDirectory(directory, options.force ?? false);
    return writeCluster(directory, options);
  } catch (error) {
    if (error instanceof AvocadoError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw fileError(directory, `can't be written (${code}): give a directory that you may write to`, error);
  }
}

/** cluster.json is written last: where it is, the directory is complete. */
function writeCluster(directory: string, options: ClusterOptions): ClusterSummary {
  const nowSeconds = options.nowSeconds ?? Math.floor(Date.now() / 1000);
  const expirySeconds = nowSeconds + (options.certificateDays ?? CERTIFICATE_DAYS_DEFAULT) * 24 * 60 * 60;
  const clusterId = randomBytes(CLUSTER_ID_BYTES);
  const clusterIdHex = hexOf(clusterId);
  const clusterKey = generateSigningKeyPair();
  const common = { clusterId, expirySeconds };

  writeClusterFile(directory, CLUSTER_KEY_FILE, {
    clusterId: clusterIdHex,
    publicKey: hexOf(clusterKey.publicKey),
    secretKey: hexOf(clusterKey.secretKey),
  });

  const members = options.members.map(({ host, port }, index): Member => {
    const keys = generateStaticKeyPair();
    const subject = { ...common, role: 'replica', memberIndex: index, staticKey: keys.publicKey } as const;
    writeClusterFile(directory, replicaFile(index), {
      clusterId: clusterIdHex,
      index,
      staticPublicKey: hexOf(keys.publicKey),
      staticSecretKey: hexOf(keys.secretKey),
      certificate: hexOf(issueCertificate(subject, clusterKey.secretKey)),
    });
    erase(keys.secretKey);
    return { index, host, port, staticKey: keys.publicKey };
  });

  const dataKey = randomBytes(DATA_KEY_BYTES);
  const dataKeys = { currentId: FIRST_DATA_KEY_ID, keys: [{ id: FIRST_DATA_KEY_ID, key: hexOf(dataKey) }] };
  erase(dataKey);
  writeClusterFile(directory, DATA_KEY_FILE, { clusterId: clusterIdHex, ...dataKeys });

  const writeClient = (name: string, grants: readonly Grant[], keys: object): void => {
    const clientKeys = generateStaticKeyPair();
    const subject = { ...common, role: 'client', grants, staticKey: clientKeys.publicKey } as const;
    writeClusterFile(directory, clientFile(name), {
      clusterId: clusterIdHex,
      staticPublicKey: hexOf(clientKeys.publicKey),
      staticSecretKey: hexOf(clientKeys.secretKey),
      certificate: hexOf(issueCertificate(subject, clusterKey.secretKey)),
      ...keys,
    });
    erase(clientKeys.secretKey);
  };
  writeClient(DEFAULT_PROFILE, ALL_GRANTS, {});
  for (const { name, grants } of options.clients ?? []) {
    const isCovered = new Permissions(grants).covers(RIGHT_READ, ALL_KEYS);
    writeClient(name, grants, isCovered ? dataKeys : { ...dataKeys, keys: [] });
  }

  const configuration = { clusterId, mode: options.mode, epoch: 1, clusterPublicKey: clusterKey.publicKey, members };
  writeConfiguration(directory, configuration, clusterKey.secretKey);
  erase(clusterKey.secretKey);
  return { directory, clusterIdHex, memberCount: members.length, certificateExpirySeconds: expirySeconds };
}

function checkClients(clients: readonly NamedClient[]): void {
  const seen = new Set<string>([DEFAULT_PROFILE]);
  for (const { name } of clients) {
    if (!PROFILE_NAME_PATTERN.test(name) || seen.has(name)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `a client has a name of its own of 1 to 32 of a-z, 0-9 and -, not ${JSON.stringify(name)}; ${DEFAULT_PROFILE} is the one without a name`,
      );
    }
    seen.add(name);
  }
}

export function checkMembers(members: ClusterOptions['members']): void {
  if (members.length % 2 !== 1 || members.length > MEMBER_COUNT_MAX) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `a cluster has 1, 3, 5 or ${MEMBER_COUNT_MAX} members (2f+1 survive f crashes), not ${members.length}`,
    );
  }
  const seen = new Set<string>();
  for (const { host, port } of members) {
    if (!isHost(host) || !isPort(port)) {
      throw new AvocadoError(
        'INVALID_ARGUMENT',
        `a member is host:port with a port from 1 to 65535, not ${JSON.stringify(`${host}:${port}`)}`,
      );
    }
    if (seen.has(`${host}:${port}`)) {
      throw new AvocadoError('INVALID_ARGUMENT', `${host}:${port} is given twice: each member needs its own address`);
    }
    seen.add(`${host}:${port}`);
  }
}

/**
 * Only a new, an empty or (forced) a cluster's own directory is taken, because its mode changes and its cluster files
 * go. Other files in it are left alone.
 */
function prepareDirectory(directory: string, force: boolean): void {
  mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
  const names = readdirSync(directory);
  const clusterNames = names.filter(isClusterFileName);
  if (clusterNames.length > 0 && !force) {
    throw fileError(
      directory,
      'holds a cluster already: give another directory, or --force to replace it and lose its keys',
    );
  }
  if (clusterNames.length === 0 && names.length > 0) {
    throw fileError(directory, 'holds other files: give a new or an empty directory');
  }
  chmodSync(directory, DIRECTORY_MODE);
  rmSync(join(directory, CLUSTER_FILE), { force: true });
  for (const name of clusterNames) rmSync(join(directory, name), { force: true });
}
