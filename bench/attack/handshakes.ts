import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from '../../net/assert.ts';
import type { DropReason } from '../../net/drops.ts';
import { ACKNOWLEDGE_AFTER_MS } from '../../net/limits.ts';
import { KIND_REQUEST, KIND_RESPONSE, OFFSET_KIND, OFFSET_SENDER_SESSION, OFFSET_SESSION } from '../../net/wire.ts';
import { AvocadoError } from '../../src/errors.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { ALL_GRANTS } from '../../src/trust/grants.ts';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../workers/signing.ts';
import { openAttackClient } from './attack-client.ts';
import type { Attack, Finding, Moved } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { harmOf, inject } from './inject.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';
import type { HostileProxy } from './hostile-proxy.ts';
import { hasMessages, isData, withVictim } from './victim.ts';

/** Attackers that want a session of their own: with somebody else's handshake, with their own keys, without any. */
const REQUESTS = 8;
const DATAGRAMS_MAX = 8;
const PUTS = 4;
const DATA_KEY_BYTES = 32;
const CERTIFICATE_SECONDS = 3_600;
/** Replicas that refuse do so at once; the client waits 500 ms for one that doesn't. */
const CONNECT_TIMEOUT_MS = 2_000;

export const replayHandshake: Attack = {
  name: 'replay-handshake',
  deed: "the network repeats a client's handshake, and its requests in the session that it gets by that",
  power: 'network',
  whyNot: () => undefined,
  run: (scene) => {
    const recordings = scene.hosts.map((): Recording => ({ request: undefined, data: [] }));
    return withVictim(
      scene,
      async ({ client, proxies }) => {
        for (let i = 0; i < PUTS; i++) await client.put(scene.key(`handshake ${i}`), randomBytes(VALUE_BYTES));
        // Until all is acknowledged: then whatever a replica sends is an answer to the attacker.
        await sleep(2 * ACKNOWLEDGE_AFTER_MS);
        const moved: Moved[] = [];
        let harm: string | undefined;
        for (const [member, proxy] of proxies.entries()) {
          const finding = await repeatHandshake(scene, proxy, member, recordings[member]!);
          moved.push(...finding.moved);
          harm ??= finding.harm;
        }
        return { harm, moved };
      },
      (proxy, member) => {
        proxy.toReplica = (datagram) => {
          const recording = recordings[member]!;
          // The last one: it has a cookie, if one was due.
          if (datagram[OFFSET_KIND] === KIND_REQUEST) recording.request = datagram;
          else if (hasMessages(datagram, scene.mode)) recording.data.push(datagram);
          return [datagram];
        };
      },
    );
  },
};

interface Recording {
  request: Uint8Array | undefined;
  readonly data: Uint8Array[];
}

/** The replica answers a handshake; it must not take the session for live before a valid packet has come in it. */
async function repeatHandshake(
  scene: Scene,
  proxy: HostileProxy,
  member: number,
  recording: Recording,
): Promise<Finding> {
  const sessions = new Set<number>();
  proxy.toClient = (datagram) => {
    if (datagram[OFFSET_KIND] === KIND_RESPONSE) sessions.add(readU32(datagram, OFFSET_SENDER_SESSION));
    return [];
  };
  assert(recording.request !== undefined, 'the client has a session with each replica');
  // A busy replica answers only those that show a cookie, and counts the others.
  const cookiesBefore = await scene.dropsOf(member, 'cookie-due');
  let cookies = cookiesBefore;
  for (let i = 0; i < REQUESTS; i++) proxy.sendToReplica(recording.request);
  await scene.until(async () => {
    cookies = await scene.dropsOf(member, 'cookie-due');
    return sessions.size > 0 || cookies > cookiesBefore;
  });
  const session = [...sessions][0];
  if (session === undefined) {
    const moved = dropsMoved(member, 'cookie-due', cookiesBefore, cookies);
    return { harm: cookies > cookiesBefore ? undefined : UNNOTICED, moved: [moved] };
  }
  const datagrams = recording.data.slice(0, DATAGRAMS_MAX).map((datagram) => withSession(datagram, session));
  const injected = await inject(scene, proxy, member, datagrams, 'forged', isData);
  const halfOpen = { where: `replica ${member}`, what: 'half-open sessions from it', before: 0, after: sessions.size };
  return { harm: harmOf(injected, member, 'took the session for live'), moved: [halfOpen, injected.moved] };
}

export const foreignKey: Attack = {
  name: 'foreign-key',
  deed: 'a stranger connects with a key pair of its own and a certificate that it has signed itself',
  power: 'outsider',
  whyNot: () => undefined,
  run: (scene) => connectAs(scene, foreigner(scene.authority), ['certificate-refused']),
};

export const plaintextClient: Attack = {
  name: 'plaintext-client',
  deed: 'a client of the cluster, with valid keys, connects in plaintext',
  power: 'downgrade',
  whyNot: (scene) => (scene.mode === 'plaintext' ? 'plaintext is what this cluster speaks' : undefined),
  run: (scene) =>
    connectAs(scene, { ...scene.authority, mode: 'plaintext' }, ['wrong-mode', 'short', 'handshake-failed']),
};

/** All that is public is the cluster's own: its id, and the addresses and static keys of its members. */
function foreigner(cluster: Authority): Authority {
  const staticKeyPair = generateStaticKeyPair();
  const certificate = issueCertificate(
    {
      role: 'client',
      grants: ALL_GRANTS,
      staticKey: staticKeyPair.publicKey,
      clusterId: cluster.clusterId,
      expirySeconds: Math.floor(Date.now() / 1_000) + CERTIFICATE_SECONDS,
    },
    generateSigningKeyPair().secretKey,
  );
  const dataKey = randomBytes(DATA_KEY_BYTES);
  return { ...cluster, staticKeyPair, certificate, dataKeys: DataKeyRing.of(1, dataKey) };
}

/** Connects, and if it gets that far deletes a key that is not its own. */
async function connectAs(scene: Scene, authority: Authority, reasons: readonly DropReason[]): Promise<Finding> {
  const key = scene.key('bait');
  const value = randomBytes(VALUE_BYTES);
  await scene.client.put(key, value);
  const before = await drops(scene, reasons);
  let harm: string | undefined;
  let answer = 'connected';
  try {
    const intruder = await openAttackClient(authority, { connectTimeoutMs: CONNECT_TIMEOUT_MS });
    try {
      harm = 'the replicas took it for a client';
      await intruder.client.delete(key, { deadlineMs: CONNECT_TIMEOUT_MS });
    } finally {
      await intruder.client.close();
    }
    if ((await scene.wrongValueOf(key, value)) !== undefined) harm += ', and it deleted a key';
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    answer = error.code;
  }
  const after = await drops(scene, reasons);
  const moved: Moved[] = [{ where: 'attacker', what: 'connection', before: 'none', after: answer }];
  for (const [member, counts] of before.entries()) {
    const grown = reasons.filter((_, i) => after[member]![i]! > counts[i]!);
    if (grown.length === 0) harm ??= UNNOTICED;
    for (const reason of grown) {
      const i = reasons.indexOf(reason);
      moved.push(dropsMoved(member, reason, counts[i]!, after[member]![i]!));
    }
  }
  return { harm, moved };
}

/** By member, in the order of the reasons. */
async function drops(scene: Scene, reasons: readonly DropReason[]): Promise<number[][]> {
  const counts: number[][] = [];
  for (const member of scene.hosts.keys()) {
    const { drops: ofMember = {} } = await scene.statusOf(member);
    counts.push(reasons.map((reason) => ofMember[reason] ?? 0));
  }
  return counts;
}

function readU32(datagram: Uint8Array, offset: number): number {
  return new DataView(datagram.buffer, datagram.byteOffset).getUint32(offset, true);
}

function withSession(datagram: Uint8Array, sessionIndex: number): Uint8Array {
  const copy = datagram.slice();
  new DataView(copy.buffer).setUint32(OFFSET_SESSION, sessionIndex, true);
  return copy;
}
