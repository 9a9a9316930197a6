import { createHash } from 'node:crypto';
import { ChaosCluster } from '../../bench/chaos/chaos-cluster.ts';
import { CALM } from '../../bench/chaos/faulty-channel.ts';
import { Random } from '../../bench/random.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { connect } from '../../src/index.ts';
import type { Client } from '../../src/index.ts';
import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';

/** The largest values, through proxies that lose datagrams in both directions, in small datagrams and in large ones. */
const LOSS = 0.05;
const ROUND_TRIPS = 20;
const QUICK_ROUND_TRIPS = 5;
/** So many at once, so that they compete for credit. */
const AT_ONCE = 4;
const DEADLINE_MS = 60_000;
/** Ethernet's, and what loopback takes. */
const DATAGRAM_BYTES = [1_472, 16_384] as const;

export const largeValues: Proof = {
  name: 'large-values',
  subject: `values of 1 MiB make the round trip intact while ${LOSS * 100} % of all datagrams are lost`,
  timeoutMs: 10 * MINUTE_MS,
  run: proveLargeValues,
};

async function proveLargeValues(context: ProofContext): Promise<ClaimResult[]> {
  const claims: ClaimResult[] = [];
  for (const mode of ['secure', 'plaintext'] as const) {
    for (const datagramBytes of DATAGRAM_BYTES) claims.push(await roundTrips(context, mode, datagramBytes));
  }
  return claims;
}

async function roundTrips(context: ProofContext, mode: SecurityMode, datagramBytes: number): Promise<ClaimResult> {
  context.progress(`mode ${mode}, datagrams of ${datagramBytes} bytes`);
  const chaos = await ChaosCluster.start({
    mode,
    replicas: 3,
    datagramBytes,
    seed: 1,
    signal: new AbortController().signal,
    log: () => {},
    onReplicaExit: () => {},
  });
  try {
    const client = await connect({ cluster: chaos.cluster.directory, datagramBytes, deadlineMs: DEADLINE_MS });
    try {
      for (const proxy of chaos.proxies) {
        for (const direction of ['in', 'out'] as const) proxy.set(direction, { ...CALM, loss: LOSS });
      }
      const total = context.quick ? QUICK_ROUND_TRIPS : ROUND_TRIPS;
      const startMs = performance.now();
      const wrong = await wrongOf(client, total);
      const seconds = (performance.now() - startMs) / 1_000;
      const { in: inward, out: outward } = chaos.networkCounts();
      const received = inward.received + outward.received;
      const dropped = inward.dropped + outward.dropped;
      return {
        claim: `${largeValues.subject}: mode ${mode}, datagrams of ${count(datagramBytes)} bytes`,
        ok: wrong === 0 && dropped > 0,
        figures:
          `${total} puts and gets, ${AT_ONCE} at once, ${wrong} wrong; ${count(dropped)} of ${count(received)} datagrams ` +
          `lost; ${seconds.toFixed(1)} s`,
        data: { mode, datagramBytes, roundTrips: total, wrong, received, dropped, seconds },
      };
    } finally {
      await client.close();
    }
  } finally {
    await chaos.stop();
  }
}

/** How many values did not come back as they were put. */
async function wrongOf(client: Client, total: number): Promise<number> {
  let next = 0;
  let wrong = 0;
  const work = async (): Promise<void> => {
    while (next < total) {
      const number = next++;
      const value = randomValue(number);
      await client.put(`large ${number % AT_ONCE} ${number}`, value);
      const read = await client.get(`large ${number % AT_ONCE} ${number}`);
      if (read === undefined || digest(read) !== digest(value)) wrong++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return wrong;
}

function randomValue(seed: number): Uint8Array {
  const random = new Random(seed, 0);
  const words = Int32Array.from({ length: SEALED_VALUE_BYTES_MAX / 4 }, () => random.nextWord());
  return new Uint8Array(words.buffer);
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
