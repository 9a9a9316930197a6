import { sign, verify } from '../../workers/signing.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { Configuration, Member } from './authority.ts';
import { CLUSTER_ID_BYTES, STATIC_KEY_BYTES } from './certificate.ts';
import { CLUSTER_FILE, fileError, readClusterFile, writeClusterFile } from './cluster-files.ts';
import type { FileFields } from './cluster-files.ts';
import { hexOf } from './hex.ts';

/** The public half of a cluster directory: cluster.json, who the members are, signed by the cluster key. */
export interface ClusterConfiguration extends Configuration {
  readonly clusterId: Uint8Array;
  readonly mode: SecurityMode;
  readonly clusterPublicKey: Uint8Array;
}

/** 2f+1 with f from 0 to 3: what the protocol's models and the bench cover. */
export const MEMBER_COUNT_MAX = 7;

const SIGNATURE_BYTES = 64;
const PUBLIC_KEY_BYTES = 32;

/** Longest name that DNS allows. */
const HOST_CHARACTERS_MAX = 253;

/** Names, IPv4 and IPv6 addresses; nothing that could break a line of a log or a shell command. */
export function isHost(host: string): boolean {
  return (
    host.length <= HOST_CHARACTERS_MAX && /^[A-Za-z0-9][A-Za-z0-9._-]*$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.test(host)
  );
}

export function isPort(port: number): boolean {
  return Number.isSafeInteger(port) && port >= 1 && port <= 65_535;
}

export function writeConfiguration(
  directory: string,
  configuration: ClusterConfiguration,
  clusterSecretKey: Uint8Array,
): void {
  writeClusterFile(directory, CLUSTER_FILE, configurationContent(configuration, clusterSecretKey));
}

/** As in cluster.json, with the cluster key's signature. */
export function configurationContent(configuration: ClusterConfiguration, clusterSecretKey: Uint8Array): object {
  return {
    clusterId: hexOf(configuration.clusterId),
    mode: configuration.mode,
    epoch: configuration.epoch,
    clusterPublicKey: hexOf(configuration.clusterPublicKey),
    members: configuration.members.map(({ index, host, port, staticKey }) => ({
      index,
      host,
      port,
      staticKey: hexOf(staticKey),
    })),
    signature: hexOf(sign(signedBytes(configuration), clusterSecretKey)),
  };
}

/**
 * The signature shows only that the file is whole: its key stands beside it. That it is the right cluster's shows when
 * the process's own certificate, which nobody else may write, is checked with that key (open-authority.ts).
 */
export function readConfiguration(directory: string): ClusterConfiguration {
  const advice = 'run avocado init for a new cluster, or give the directory that it wrote';
  return configurationOf(readClusterFile(directory, CLUSTER_FILE, advice));
}

/** @throws AvocadoError CLUSTER_FILES, naming what is wrong. */
export function configurationOf(fields: FileFields): ClusterConfiguration {
  const mode = SECURITY_MODES.find((known) => known === fields.string('mode'));
  if (mode === undefined) throw fields.wrong('mode', `must be one of ${SECURITY_MODES.join(', ')}`);

  const members = fields.objects('members').map((member, i): Member => {
    const host = member.string('host');
    if (!isHost(host)) throw member.wrong('host', 'must be a host name or an IP address');
    return {
      index: member.integer('index', i, i),
      host,
      port: member.integer('port', 1, 65_535),
      staticKey: member.hex('staticKey', STATIC_KEY_BYTES),
    };
  });
  if (members.length % 2 !== 1 || members.length > MEMBER_COUNT_MAX) {
    throw fields.wrong('members', `must be an odd number of members, at most ${MEMBER_COUNT_MAX}`);
  }
  const configuration = {
    clusterId: fields.hex('clusterId', CLUSTER_ID_BYTES),
    mode,
    epoch: fields.integer('epoch', 1, Number.MAX_SAFE_INTEGER),
    clusterPublicKey: fields.hex('clusterPublicKey', PUBLIC_KEY_BYTES),
    members,
  };
  const signature = fields.hex('signature', SIGNATURE_BYTES);
  if (!verify(signature, signedBytes(configuration), configuration.clusterPublicKey)) {
    throw fileError(
      fields.path,
      'was changed after the cluster key signed it: restore it from a copy, or make the cluster anew with avocado init --force',
    );
  }
  return configuration;
}

/** Keeps the cluster key's signatures over configurations apart from its signatures over anything else. */
const SIGNATURE_PREFIX = new TextEncoder().encode('avocado configuration 1\0');

/**
 * The one encoding of a configuration: what is signed never depends on how JSON was spaced or ordered.
 *
 *     prefix | cluster id (16) | cluster public key (32) | mode (u16) | member count (u16) | epoch (u64)
 *     each member: index (u16) | port (u16) | host bytes (u32) | host, UTF-8 | static key (32)
 */
function signedBytes(configuration: ClusterConfiguration): Uint8Array {
  const head = new DataView(new ArrayBuffer(12));
  head.setUint16(0, SECURITY_MODES.indexOf(configuration.mode), true);
  head.setUint16(2, configuration.members.length, true);
  head.setBigUint64(4, BigInt(configuration.epoch), true);
  const parts: Uint8Array[] = [
    SIGNATURE_PREFIX,
    configuration.clusterId,
    configuration.clusterPublicKey,
    new Uint8Array(head.buffer),
  ];
  for (const member of configuration.members) {
    const host = new TextEncoder().encode(member.host);
    const fixed = new DataView(new ArrayBuffer(8));
    fixed.setUint16(0, member.index, true);
    fixed.setUint16(2, member.port, true);
    fixed.setUint32(4, host.length, true);
    parts.push(new Uint8Array(fixed.buffer), host, member.staticKey);
  }
  return Buffer.concat(parts);
}
