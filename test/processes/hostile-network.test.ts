import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { unchanged } from '../../bench/attack/hostile-proxy.ts';
import type { Passage } from '../../bench/attack/hostile-proxy.ts';
import { Random } from '../../bench/random.ts';
import { UdpTransport } from '../../net/udp.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { ATTACKS, isData, isHandshakeRequest, isHandshakeResponse, noise } from './hostile-datagrams.ts';
import { openClient } from './open-client.ts';
import type { OpenClient } from './open-client.ts';
import { proxyCluster } from './proxied-cluster.ts';
import type { ProxiedCluster } from './proxied-cluster.ts';
import { until } from './until.ts';
import { WindowedLoad } from './windowed-load.ts';

/**
 * A live replica under load, whose network does what it likes. The load goes through proxies that record and change its
 * datagrams; a client beside them asks the replica what it has dropped.
 */
const VICTIM = 0;
const LOOPBACK = '127.0.0.1';
const RECORDED_MAX = 64;
const READ_PROPORTION = 0.5;
/** A heap breathes by some megabytes; the flood alone brings 50. */
const GROWTH_BYTES_MAX = 24 * 2 ** 20;

let cluster: EmbeddedCluster;
let network: ProxiedCluster;
let load: WindowedLoad;
let observer: OpenClient;
let stranger: UdpTransport;
/** What the client sent to the victim most lately, and its handshakes. */
const recorded: Uint8Array[] = [];
const requests: Uint8Array[] = [];
const random = new Random(7);

before(async () => {
  cluster = await startEmbeddedCluster({ mode: 'secure' });
  network = await proxyCluster(cluster);
  network.proxies[VICTIM]!.toReplica = record;
  stranger = await UdpTransport.open({ host: LOOPBACK, port: 0 });
  stranger.start({ onDatagram: () => {}, onSent: () => {} });
  observer = await openClient(cluster.directory);
  load = await WindowedLoad.open({ clusterDirectory: network.directory, records: 500, outstanding: 16 });
  await load.fill();
  load.start(READ_PROPORTION);
});

after(async () => {
  await load?.close();
  await observer?.client.close();
  await stranger?.close();
  await network?.close();
  await cluster?.stop();
});

const record: Passage = (datagram) => {
  if (isHandshakeRequest(datagram)) requests.push(datagram);
  if (isData(datagram) && recorded.push(datagram) > RECORDED_MAX) recorded.shift();
  return [datagram];
};

async function dropsOfVictim(): Promise<Record<string, number>> {
  return await until(async () => (await observer.engine.status(1_000))[VICTIM]!.drops, 'the replica to answer');
}

function growth(before: Record<string, number>, now: Record<string, number>, reason: string | undefined): number {
  const total = (drops: Record<string, number>): number => Object.values(drops).reduce((sum, count) => sum + count, 0);
  if (reason === undefined) return total(now) - total(before);
  return (now[reason] ?? 0) - (before[reason] ?? 0);
}

/** Waits until the victim has counted so many, so that no kernel buffer runs over between us and it. */
async function untilDropped(before: Record<string, number>, reason: string | undefined, count: number): Promise<void> {
  await until(
    async () => growth(before, await dropsOfVictim(), reason) >= count,
    `${count} datagrams to be counted as ${reason ?? 'dropped'}`,
    20_000,
  );
}

function send(datagram: Uint8Array, from: 'client' | 'stranger'): void {
  if (from === 'client') network.proxies[VICTIM]!.sendToReplica(datagram);
  else stranger.send(0, datagram, datagram.length, LOOPBACK, cluster.members[VICTIM]!.port);
}

async function assertServes(): Promise<void> {
  const goal = load.completed + 200;
  await until(() => load.completed >= goal, 'operations to succeed');
  assert.deepEqual(load.errors, {});
}

for (const { name, reason, from, make, batch, count } of ATTACKS) {
  test(`${name}: each is counted, and the load goes on`, async () => {
    const before = await dropsOfVictim();
    for (let sent = 0; sent < count; ) {
      for (let i = 0; i < batch; i++, sent++) {
        send(make(recorded[sent % recorded.length]!.slice(), random), from);
      }
      await untilDropped(before, reason, sent);
    }
    const now = await dropsOfVictim();
    assert.equal(growth(before, now, reason), count);
    assert.equal(growth(before, now, undefined), count, 'and nothing else was dropped');
    await assertServes();
  });
}

test('a recorded handshake, sent again and again, gets one answer, which makes no more than one session', async () => {
  const before = await dropsOfVictim();
  const proxy = network.proxies[VICTIM]!;
  const answers: string[] = [];
  proxy.toClient = (datagram) => {
    if (isHandshakeResponse(datagram)) answers.push(Buffer.from(datagram).toString('hex'));
    return [datagram];
  };
  for (let sent = 0; sent < 160; ) {
    for (let i = 0; i < 16; i++, sent++) proxy.sendToReplica(requests[0]!);
    await until(() => answers.length >= sent, 'the replica to answer');
  }
  proxy.toClient = unchanged;
  assert.equal(new Set(answers).size, 1);
  assert.equal(growth(before, await dropsOfVictim(), undefined), 0);
  await assertServes();
});

test('datagrams that are doubled, turned around and cut on their way are counted, and the load goes on', async () => {
  const before = await dropsOfVictim();
  const proxy = network.proxies[VICTIM]!;
  let passed = 0;
  let doubled = 0;
  let cut = 0;
  let held: Uint8Array | undefined;
  proxy.toReplica = (datagram) => {
    if (!isData(datagram)) return [datagram];
    switch (passed++ % 8) {
      case 1:
        doubled++;
        return [datagram, datagram];
      case 3:
        cut++;
        return [datagram.subarray(0, datagram.length - 8)];
      case 5:
        held = datagram;
        return [];
      case 6:
        return [datagram, held!];
      default:
        return [datagram];
    }
  };
  const goal = load.completed + 2_000;
  await until(() => load.completed >= goal && held !== undefined, 'operations to succeed');
  proxy.toReplica = unchanged;
  await untilDropped(before, undefined, doubled + cut);
  const now = await dropsOfVictim();
  assert.equal(growth(before, now, 'replayed'), doubled);
  assert.equal(growth(before, now, undefined), doubled + cut, 'what came late was taken, not dropped');
  assert(doubled > 20 && cut > 20);
  await assertServes();
});

test('a flood of garbage leaves the replica’s memory as it was', async () => {
  const residentBytes = async (): Promise<number> =>
    until(async () => (await observer.engine.status(1_000))[VICTIM]!.rssBytes, 'the replica to answer');
  const flood = async (count: number): Promise<void> => {
    const before = await dropsOfVictim();
    for (let sent = 0; sent < count; ) {
      for (let i = 0; i < 32; i++, sent++) send(garbage[sent % garbage.length]!, 'stranger');
      await untilDropped(before, undefined, sent);
    }
  };
  const garbage = Array.from({ length: 64 }, () => noise(random, 8_192));
  await flood(3_200);
  const beforeBytes = await residentBytes();
  await flood(6_400);
  const grownBytes = (await residentBytes()) - beforeBytes;
  assert(grownBytes < GROWTH_BYTES_MAX, `resident memory grew by ${grownBytes} bytes over 6,400 datagrams of 8 KiB`);
  await assertServes();
});
