import { LatencyHistogram } from '../../bench/histogram.ts';
import type { Ran } from '../../bench/messages.ts';
import type { MemberStatus } from '../../src/client/operations.ts';

/** What a load process could have answered, for tests of results and reports. */
export function ranPart(change: Partial<Ran> = {}): Ran {
  const read = new LatencyHistogram();
  const update = new LatencyHistogram();
  for (let i = 1; i <= 100; i++) {
    read.recordMs(i / 100);
    update.recordMs(i / 50);
  }
  return {
    type: 'ran',
    windowMs: 1_000,
    reads: 100,
    updates: 100,
    errors: {},
    readLatency: read.encode(),
    updateLatency: update.encode(),
    cpuUs: 400,
    counters: { retransmissions: 1, hedges: 2, tampered: 0, repairs: 0, writeBacks: 3 },
    members: null,
    ...change,
  };
}

export function member(index: number, cpuUs: number, change: Partial<MemberStatus> = {}): MemberStatus {
  return {
    index,
    address: `127.0.0.1:${7400 + index}`,
    reachable: true,
    state: 'active',
    incarnation: 'a1',
    cpuUs,
    ...change,
  };
}
