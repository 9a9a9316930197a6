import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { ProcessMemory } from '../../bench/attack/process-memory.ts';
import { valuePartOf } from '../../bench/attack/victim.ts';
import type { MemberStatus } from '../../src/client/operations.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import { openClient } from './open-client.ts';
import { proxyCluster } from './proxied-cluster.ts';
import { until } from './until.ts';

/**
 * What a hostile host can do to a value: it sees the sealed value pass on the network, finds it in the memory of one
 * replica's process, and flips one bit of it there. A client reads on meanwhile.
 */
export interface TamperingReport {
  readonly valueBytes: number;
  /** Places in the replica's memory that held the sealed value; one bit was flipped in each. */
  readonly places: number;
  /** Gets until the replica was asked for its copy and had replaced it, and how many gave a wrong value. */
  readonly gets: number;
  readonly wrongGets: number;
  /** Copies that the client found to be bad. */
  readonly clientTampered: number;
  /** What the replica says of itself. */
  readonly replicaTampered: number;
  readonly replicaRepaired: number;
  /** Flipped places that hold the sealed value again. */
  readonly healedPlaces: number;
  /** Bad copies met by as many gets again, afterwards. */
  readonly clientTamperedLater: number;
}

const KEY = 'guarded';
const VALUE_BYTES = 4_000;
/** Long enough to occur by chance nowhere else, short enough to lie in the first of the value's pages. */
const PATTERN_BYTES = 256;
/** Behind the envelope's header: the ciphertext is hit, not the name of its key. */
const FLIPPED_OFFSET = ENVELOPE_HEADER_BYTES + 64;
/** The replica is asked for its copy by turns, one get in three; a busy machine may pass it over for a while. */
const GETS_MAX = 20_000;
const LATER_GETS = 300;
const STATUS_TIMEOUT_MS = 5_000;

export async function tamperWithOneReplica(cluster: EmbeddedCluster, index: number): Promise<TamperingReport> {
  const network = await proxyCluster(cluster);
  const { client, engine } = await openClient(network.directory);
  const memory = new ProcessMemory(cluster.processIds[index]!);
  try {
    let envelope: Uint8Array | undefined;
    network.proxies[index]!.toReplica = (datagram) => {
      envelope ??= valuePartOf(datagram, VALUE_BYTES);
      return [datagram];
    };
    const statusOf = async (): Promise<MemberStatus> => (await engine.status(STATUS_TIMEOUT_MS))[index]!;
    const keysBefore = (await statusOf()).keys ?? 0;
    const value = randomBytes(VALUE_BYTES);
    await client.put(KEY, value);
    // The put may have ended without this replica: what it has received and what it keeps lie in different places.
    await until(async () => ((await statusOf()).keys ?? 0) > keysBefore, 'the replica to take the value');
    assert(envelope !== undefined, 'a value that was taken has passed');
    const pattern = envelope.subarray(0, PATTERN_BYTES);
    const places = memory.find(pattern);
    assert(places.length > 0, 'the value lies in the replica’s memory');
    for (const place of places) memory.flipBit(place + FLIPPED_OFFSET, 0);

    const counts = { gets: 0, wrongGets: 0 };
    const get = async (): Promise<void> => {
      counts.gets++;
      const got = await client.get(KEY);
      if (got === undefined || !got.equals(value)) counts.wrongGets++;
    };
    while (engine.counters.tampered === 0 && counts.gets < GETS_MAX) await get();
    const clientTampered = engine.counters.tampered;
    assert(clientTampered > 0, `the bad copy was met in ${GETS_MAX} gets`);
    const replica = await until(async () => {
      const status = await statusOf();
      return (status.repaired ?? 0) > 0 && status;
    }, 'the replica to say that it has repaired its copy');
    const healedPlaces = places.filter((place) => memory.read(place, PATTERN_BYTES).equals(pattern)).length;
    const { gets } = counts;
    for (let i = 0; i < LATER_GETS; i++) await get();
    return {
      valueBytes: VALUE_BYTES,
      places: places.length,
      gets,
      wrongGets: counts.wrongGets,
      clientTampered,
      replicaTampered: replica.tampered ?? 0,
      replicaRepaired: replica.repaired ?? 0,
      healedPlaces,
      clientTamperedLater: engine.counters.tampered - clientTampered,
    };
  } finally {
    memory.close();
    await client.close();
    await network.close();
  }
}
