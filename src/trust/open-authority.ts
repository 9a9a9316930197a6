import { AvocadoError } from '../errors.ts';
import type { Authority } from './authority.ts';
import { CERTIFICATE_BYTES_MAX, CERTIFICATE_BYTES_MIN, CLUSTER_ID_BYTES, STATIC_KEY_BYTES } from './certificate.ts';
import { readConfiguration } from './cluster-configuration.ts';
import type { ClusterConfiguration } from './cluster-configuration.ts';
import { DATA_KEY_FILE, clientFile, fileError, readClusterFile, replicaFile } from './cluster-files.ts';
import type { FileFields } from './cluster-files.ts';
import { DataKeyRing } from './data-key-ring.ts';
import { DEFAULT_SPACE } from './key-space.ts';
import { DEFAULT_PROFILE, PROFILE_NAME_PATTERN } from './profile-name.ts';
import { verifyPeer } from './verify-peer.ts';
import { hexOf } from './hex.ts';

export type AuthorityRole =
  | { readonly role: 'replica'; readonly index: number }
  /** A client of the coordinated route needs no data keys; the file that holds them is not even looked at. */
  | {
      readonly role: 'client';
      readonly needsDataKeys?: boolean;
      /** Default: default. */
      readonly profile?: string | undefined;
      /** File of the key by which CAS knows who may have the profile; of no use with a directory. */
      readonly enrolmentKeyFile?: string | undefined;
    };

/**
 * Reads what one process needs from a cluster directory (cluster-directory.ts) and checks that it fits together.
 * Everything wrong with it is an AvocadoError CLUSTER_FILES.
 */
export function openAuthority(directory: string, role: AuthorityRole): Authority {
  const configuration = readConfiguration(directory);
  const own = readOwnFile(directory, configuration, role);
  const isKeyless = role.role === 'client' && role.needsDataKeys === false;
  const dataKeys = isKeyless
    ? DataKeyRing.empty()
    : dataKeysOf(own.keysFile ?? readDataKeysFile(directory, configuration));
  return {
    clusterId: configuration.clusterId,
    mode: configuration.mode,
    configuration: { epoch: configuration.epoch, members: configuration.members },
    staticKeyPair: own.staticKeyPair,
    certificate: own.certificate,
    dataKeys,
    verify: (certificate, staticKey, nowSeconds) => verifyPeer(configuration, certificate, staticKey, nowSeconds),
  };
}

type OwnFile = Pick<Authority, 'staticKeyPair' | 'certificate'> & {
  /** Of a client with a name: its data keys stand in its own file. */
  readonly keysFile: FileFields | undefined;
};

function readOwnFile(directory: string, configuration: ClusterConfiguration, role: AuthorityRole): OwnFile {
  const profile = role.role === 'client' ? (role.profile ?? DEFAULT_PROFILE) : DEFAULT_PROFILE;
  if (!PROFILE_NAME_PATTERN.test(profile)) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `a client has a name of 1 to 32 of a-z, 0-9 and -, not ${JSON.stringify(profile)}`,
    );
  }
  const name = role.role === 'replica' ? replicaFile(role.index) : clientFile(profile);
  const memberCount = configuration.members.length;
  const fields = readClusterFile(
    directory,
    name,
    role.role === 'replica' && !(role.index < memberCount)
      ? `the cluster has ${memberCount} members, give an index from 0 to ${memberCount - 1}`
      : 'copy it from the directory that avocado init wrote',
  );
  checkCluster(fields, configuration);
  const certificate = fields.hex('certificate', CERTIFICATE_BYTES_MIN, CERTIFICATE_BYTES_MAX);
  const publicKey = fields.hex('staticPublicKey', STATIC_KEY_BYTES);
  const verdict = verifyPeer(configuration, certificate, publicKey, Date.now() / 1000);
  if (!verdict.ok) {
    throw fileError(
      fields.path,
      `can't be used, ${verdict.reason}: copy the cluster's files anew, or run avocado init --force`,
    );
  }
  const { identity } = verdict;
  if (identity.role !== role.role || (role.role === 'replica' && identity.memberIndex !== role.index)) {
    const holder = identity.role === 'client' ? 'a client' : `replica ${identity.memberIndex}`;
    throw fileError(
      fields.path,
      `holds the certificate of ${holder}: copy the right file from the directory that avocado init wrote`,
    );
  }
  return {
    staticKeyPair: { publicKey, secretKey: fields.hex('staticSecretKey', STATIC_KEY_BYTES) },
    certificate,
    keysFile: profile === DEFAULT_PROFILE ? undefined : fields,
  };
}

const DATA_KEY_BYTES = 32;
/** Key ids travel in 32 bits; zero is none. */
const DATA_KEY_ID_MIN = 1;
const DATA_KEY_ID_MAX = 0xffff_ffff;

function readDataKeysFile(directory: string, configuration: ClusterConfiguration): FileFields {
  const fields = readClusterFile(
    directory,
    DATA_KEY_FILE,
    'copy it from the directory that avocado init wrote; a client without it can use the coordinated route',
  );
  checkCluster(fields, configuration);
  return fields;
}

/** Of a client that may not read all there are none. */
function dataKeysOf(fields: FileFields): DataKeyRing {
  const currentId = fields.integer('currentId', DATA_KEY_ID_MIN, DATA_KEY_ID_MAX);
  const keys = new Map<number, Uint8Array>();
  for (const entry of fields.objects('keys')) {
    const id = entry.integer('id', DATA_KEY_ID_MIN, DATA_KEY_ID_MAX);
    if (keys.has(id)) throw entry.wrong('id', 'must not be given twice');
    keys.set(id, entry.hex('key', DATA_KEY_BYTES));
  }
  if (keys.size > 0 && !keys.has(currentId)) throw fields.wrong('currentId', 'must be the id of one of the keys');
  return new DataKeyRing(
    [{ name: DEFAULT_SPACE, prefix: new Uint8Array(0), currentId }],
    [...keys].map(([id, key]) => ({ id, key })),
  );
}

function checkCluster(fields: FileFields, configuration: ClusterConfiguration): void {
  const clusterIdHex = hexOf(fields.hex('clusterId', CLUSTER_ID_BYTES));
  if (clusterIdHex !== hexOf(configuration.clusterId)) {
    throw fileError(
      fields.path,
      `is of cluster ${clusterIdHex.slice(0, 8)}, cluster.json beside it is of ${hexOf(configuration.clusterId).slice(0, 8)}: copy the files of one cluster`,
    );
  }
}
