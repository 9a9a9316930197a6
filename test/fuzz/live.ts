/**
 * Hostile datagrams and messages at a real replica process under load, over real sockets. The network between the load
 * and the replica is ours: it records what passes, and sends under the load's address.
 *
 * Rounds of datagrams are accounted for: drops that the replica's status shows, and handshakes that it answered, are as
 * many as were sent. They are sent in small batches and waited for, so that no socket buffer runs over in between.
 */
import assert from 'node:assert/strict';
import type { DropReason } from '../../net/drops.ts';
import { UdpTransport } from '../../net/udp.ts';
import { KIND_REQUEST, OFFSET_KIND } from '../../net/wire.ts';
import { requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { TurnLoop } from '../../src/server/turn-loop.ts';
import { openAuthority } from '../../src/trust/open-authority.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { Dice } from '../cluster/dice.ts';
import type { OpenClient } from '../processes/open-client.ts';
import { openClient } from '../processes/open-client.ts';
import type { ProxiedCluster } from '../processes/proxied-cluster.ts';
import { proxyCluster } from '../processes/proxied-cluster.ts';
import { residentBytes } from '../processes/resident-memory.ts';
import { until } from '../processes/until.ts';
import { WindowedLoad } from '../processes/windowed-load.ts';
import { DatagramFuzz, isRecordable, isResponse } from './datagrams.ts';
import { HostileClient } from './hostile-client.ts';

export interface LiveFuzzOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly onProgress: (line: string) => void;
}

export interface LiveFuzzSummary {
  readonly datagramCount: number;
  readonly messageCount: number;
  readonly operationCount: number;
  readonly residentBytesGrown: number;
  readonly drops: Readonly<Record<string, number>>;
}

const MODE = 'secure';
const VICTIM = 0;
const LOOPBACK = '127.0.0.1';
const STRANGER_COUNT = 16;
const BATCH = 8;
const BATCHES_A_ROUND = 40;
const SAYINGS_A_ROUND = 40;
/** Eight of them fit into the smallest receive buffer beside the load. */
const RECORDED_BYTES_MAX = 4_096;
const RECORDED_COUNT_MIN = 20;
/** Sessions of the load, the observer and the replicas are renewed in long runs, and may need a cookie then. */
const OWN_HANDSHAKES_MAX = 16;
/** A heap breathes by some megabytes. */
const GROWTH_BYTES_MAX = 48 * 2 ** 20;
const ACCOUNTED_WITHIN_MS = 20_000;
const SIDE_REASONS: readonly DropReason[] = ['send-slots-full', 'send-failed', 'flight-full', 'half-open-full'];

/** Throws an assertion with what was wrong. */
export async function fuzzLive(options: LiveFuzzOptions): Promise<LiveFuzzSummary> {
  const deaths: string[] = [];
  const cluster = await startEmbeddedCluster({
    mode: MODE,
    log: () => {},
    onReplicaExit: (index, description) => deaths.push(`replica ${index} ended: ${description}`),
  });
  const network = await proxyCluster(cluster);
  const observer = await openClient(cluster.directory);
  const load = await WindowedLoad.open({ clusterDirectory: network.directory, records: 300, outstanding: 8 });
  const run = new LiveFuzz(options, cluster, network, observer, load, deaths);
  try {
    return await run.play();
  } finally {
    await run.close();
    await load.close();
    await observer.client.close();
    await network.close();
    await cluster.stop();
  }
}

class LiveFuzz {
  readonly #options: LiveFuzzOptions;
  readonly #cluster: EmbeddedCluster;
  readonly #network: ProxiedCluster;
  readonly #observer: OpenClient;
  readonly #load: WindowedLoad;
  readonly #deaths: readonly string[];
  readonly #fuzz: DatagramFuzz;
  readonly #strangers: UdpTransport[] = [];
  #client: HostileClient | undefined;
  #clientTransport: UdpTransport | undefined;
  #loop: TurnLoop | undefined;
  #datagramCount = 0;
  #answeredCount = 0;

  constructor(
    options: LiveFuzzOptions,
    cluster: EmbeddedCluster,
    network: ProxiedCluster,
    observer: OpenClient,
    load: WindowedLoad,
    deaths: readonly string[],
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#network = network;
    this.#observer = observer;
    this.#load = load;
    this.#deaths = deaths;
    const dice = new Dice(options.seed);
    const { clusterId, staticKeyPair, certificate, configuration, dataKeys } = this.#authority();
    const sealing = createInlineSealing({ mode: MODE, dataKeys });
    this.#fuzz = new DatagramFuzz({
      dice,
      mode: MODE,
      clusterId,
      victimStaticKey: configuration.members[VICTIM]!.staticKey,
      crypto: createHandshakeCrypto({ mode: MODE, staticKeyPair, sealing, randomBytes: dice.bytes }),
      requestPayload: () => requestPayload(dice.integer(1, 2 ** 31 - 1), 0, certificate),
    });
  }

  async play(): Promise<LiveFuzzSummary> {
    await this.#open();
    const endMs = performance.now() + this.#options.seconds * 1_000;
    // What the first rounds allocate stays.
    await this.#round();
    const residentBefore = this.#residentBytes();
    do await this.#round();
    while (performance.now() < endMs);
    const residentBytesGrown = this.#residentBytes() - residentBefore;
    assert.ok(residentBytesGrown < GROWTH_BYTES_MAX, `resident memory grew by ${residentBytesGrown} bytes`);
    return {
      datagramCount: this.#datagramCount,
      messageCount: this.#client!.sentCount,
      operationCount: this.#load.completed,
      residentBytesGrown,
      drops: await this.#drops(),
    };
  }

  async close(): Promise<void> {
    this.#loop?.close();
    this.#client?.close();
    await this.#clientTransport?.close();
    await Promise.all(this.#strangers.map((stranger) => stranger.close()));
  }

  async #open(): Promise<void> {
    this.#network.proxies[VICTIM]!.toReplica = (datagram) => {
      if (isRecordable(datagram) && datagram.length <= RECORDED_BYTES_MAX) this.#fuzz.record(datagram);
      return [datagram];
    };
    for (let number = 0; number < STRANGER_COUNT; number++) {
      const stranger = await UdpTransport.open({ host: LOOPBACK, port: 0 });
      stranger.start({ onDatagram: (datagram) => this.#onAnswer(number, datagram), onSent: () => {} });
      this.#strangers.push(stranger);
    }
    await this.#load.fill();
    this.#load.start(0.5);
    await this.#openHostile();
    await until(() => this.#fuzz.recordedCount >= RECORDED_COUNT_MIN, 'the load to be recorded');
  }

  #onAnswer(number: number, datagram: Uint8Array): void {
    if (isResponse(datagram)) this.#answeredCount++;
    for (let stranger = number; stranger < 256; stranger += STRANGER_COUNT) this.#fuzz.onAnswer(stranger, datagram);
  }

  async #openHostile(): Promise<void> {
    const authority = this.#authority();
    const transport = await UdpTransport.open({ host: LOOPBACK, port: 0 });
    const sealing = createInlineSealing({ mode: MODE, dataKeys: authority.dataKeys });
    const { staticKeyPair } = authority;
    const client = new HostileClient({
      authority,
      memberIndex: VICTIM,
      host: LOOPBACK,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode: MODE, staticKeyPair, sealing }),
      datagramBytes: 1_472,
      dice: new Dice(this.#options.seed + 1),
    });
    const loop = new TurnLoop({ turn: (nowMs) => client.turn(nowMs), nextTurnMs: () => 0, isWorkLeft: () => false });
    transport.start({
      onDatagram: (datagram, host, port) => {
        client.onDatagram(datagram, host, port);
        loop.schedule();
      },
      onSent: (token, failed) => client.onSent(token, failed),
    });
    this.#client = client;
    this.#clientTransport = transport;
    this.#loop = loop;
    await until(() => client.isConnected, 'the hostile client to have a session');
  }

  async #round(): Promise<void> {
    const before = this.#counted(await this.#drops());
    let sent = 0;
    let over = 0;
    for (let batch = 0; batch < BATCHES_A_ROUND; batch++) {
      for (let i = 0; i < BATCH; i++, sent++) this.#send();
      over = await this.#untilAccounted(before, sent);
    }
    assert.ok(over <= OWN_HANDSHAKES_MAX, `${over} more outcomes than datagrams`);
    this.#datagramCount += sent;
    const goal = this.#load.completed + 20;
    for (let i = 0; i < SAYINGS_A_ROUND; i++) {
      this.#client!.say();
      this.#loop!.schedule();
      if (i % BATCH === 0) await this.#drops();
    }
    await until(() => this.#load.completed >= goal, 'operations to succeed');
    assert.deepEqual(this.#load.errors, {});
    assert.deepEqual(this.#deaths, []);
    await this.#untilQuiet();
    this.#options.onProgress(`${this.#datagramCount} datagrams, ${this.#client!.sentCount} messages`);
  }

  #send(): void {
    const { datagram, from } = this.#fuzz.next();
    // Answers to handshakes must come to us, to be counted.
    if (from === 'peer' && datagram[OFFSET_KIND] !== KIND_REQUEST) {
      return this.#network.proxies[VICTIM]!.sendToReplica(datagram);
    }
    const stranger = this.#strangers[(from === 'peer' ? 0 : from) % STRANGER_COUNT]!;
    stranger.send(0, datagram, datagram.length, LOOPBACK, this.#cluster.members[VICTIM]!.port);
  }

  /** How many more outcomes there were than datagrams. */
  async #untilAccounted(before: number, sent: number): Promise<number> {
    let outcomes = 0;
    await until(
      async () => {
        outcomes = this.#counted(await this.#drops()) - before;
        return outcomes >= sent;
      },
      `${sent} datagrams to be answered or counted`,
      ACCOUNTED_WITHIN_MS,
    );
    return outcomes - sent;
  }

  /** What hostile messages left under way has been counted. */
  async #untilQuiet(): Promise<void> {
    let last = -1;
    await until(async () => {
      const counted = this.#counted(await this.#drops());
      const isQuiet = counted === last;
      last = counted;
      return isQuiet;
    }, 'the replica to have handled all that was sent');
  }

  #counted(drops: Readonly<Record<string, number>>): number {
    let sum = this.#answeredCount;
    for (const [reason, count] of Object.entries(drops)) if (!SIDE_REASONS.includes(reason as DropReason)) sum += count;
    return sum;
  }

  async #drops(): Promise<Record<string, number>> {
    return await until(async () => {
      assert.deepEqual(this.#deaths, []);
      return (await this.#observer.engine.status(1_000))[VICTIM]?.drops;
    }, 'the replica to answer');
  }

  #residentBytes(): number {
    return residentBytes(this.#cluster.processIds[VICTIM]!) ?? 0;
  }

  #authority(): ReturnType<typeof openAuthority> {
    return openAuthority(this.#cluster.directory, { role: 'client' });
  }
}
