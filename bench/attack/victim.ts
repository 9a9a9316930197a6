import { randomBytes } from 'node:crypto';
import { regionOf } from '../../net/bytes.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { HEADER_BYTES, KIND_DATA, OFFSET_KIND, PREAMBLE_BYTES, readValueBytes } from '../../net/wire.ts';
import type { Client } from '../../src/client/client.ts';
import { AvocadoError } from '../../src/errors.ts';
import { datagramBytesFor } from '../../src/server/datagram-bytes.ts';
import { LOOPBACK } from '../udp-proxy.ts';
import type { AttackClient } from './attack-client.ts';
import { openAttackClient } from './attack-client.ts';
import { VALUE_BYTES } from './attack.ts';
import type { Scene } from './scene.ts';
import { HostileProxy } from './hostile-proxy.ts';

/** An honest client whose network is the attacker's: a proxy between it and each replica. */
export interface Victim extends AttackClient {
  /** By member. */
  readonly proxies: readonly HostileProxy[];
}

/** @param prepare Sees the proxies before the client connects. */
export async function withVictim<T>(
  scene: Scene,
  use: (victim: Victim) => Promise<T>,
  prepare: (proxy: HostileProxy, member: number) => void = () => {},
): Promise<T> {
  const { configuration } = scene.authority;
  const proxies: HostileProxy[] = [];
  try {
    for (const { index, port } of configuration.members)
      proxies.push(await HostileProxy.open(port, scene.hosts[index]!));
    proxies.forEach(prepare);
    const members = configuration.members.map((member) => ({
      ...member,
      host: LOOPBACK,
      port: proxies[member.index]!.port,
    }));
    const { client, engine } = await openAttackClient(
      { ...scene.authority, configuration: { ...configuration, members } },
      { datagramBytes: datagramBytesFor(scene.hosts, undefined) },
    );
    try {
      await reachAll(scene, client, proxies);
      return await use({ client, engine, proxies });
    } finally {
      await client.close();
    }
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
}

/** A client is connected once a quorum is ready; attacks on the others need them, too. */
async function reachAll(scene: Scene, client: Client, proxies: readonly HostileProxy[]): Promise<void> {
  const key = scene.key('victim');
  const unseen = new Set(proxies.keys());
  const passages = proxies.map(({ toReplica }) => toReplica);
  for (const [member, proxy] of proxies.entries()) {
    proxy.toReplica = (datagram) => {
      if (valuePartOf(datagram, VALUE_BYTES) !== undefined) unseen.delete(member);
      return passages[member]!(datagram);
    };
  }
  const hasReached = await scene.until(async () => {
    await client.put(key, randomBytes(VALUE_BYTES));
    return unseen.size === 0;
  });
  for (const [member, proxy] of proxies.entries()) proxy.toReplica = passages[member]!;
  if (!hasReached) throw new AvocadoError('NO_QUORUM', `replicas ${[...unseen].join(', ')} took no part in a put`);
}

export function isData(datagram: Uint8Array): boolean {
  return datagram.length >= HEADER_BYTES && datagram[OFFSET_KIND] === KIND_DATA;
}

/** More than an acknowledgement: requests or answers. */
export function hasMessages(datagram: Uint8Array, mode: SecurityMode): boolean {
  const tagBytes = mode === 'plaintext' ? 0 : 16;
  return isData(datagram) && datagram.length > HEADER_BYTES + PREAMBLE_BYTES + tagBytes;
}

/** Values travel in the open: the value part of a datagram that carries at least so much. */
export function valuePartOf(datagram: Uint8Array, bytesMin: number): Uint8Array | undefined {
  if (!isData(datagram)) return undefined;
  const valueBytes = readValueBytes(regionOf(datagram.buffer, datagram.byteOffset, datagram.length & ~3).words);
  return valueBytes >= bytesMin ? datagram.subarray(HEADER_BYTES, HEADER_BYTES + valueBytes) : undefined;
}
