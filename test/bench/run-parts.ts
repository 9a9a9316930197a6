import { LatencyHistogram } from '../../bench/histogram.ts';
import type { Ran } from '../../bench/messages.ts';
import type { OperationType } from '../../bench/workload.ts';
import type { MemberStatus } from '../../src/client/operations.ts';

/** What a load process could have answered, for tests of results and reports. */
export function ranPart(change: Partial<Ran> = {}): Ran {
  const read = latenciesOf(100);
  const update = new LatencyHistogram();
  for (let i = 1; i <= 100; i++) update.recordMs(i / 50);
  return {
    type: 'ran',
    windowMs: 1_000,
    operations: 200,
    completed: 260,
    operationsByClient: [200],
    readBytes: 25_600,
    conflicts: 0,
    writtenBytes: 12_800,
    errors: {},
    byType: byType({ read, update }),
    cpuUs: 400,
    counters: {
      retransmissions: 1,
      hedges: 2,
      tampered: 0,
      repairs: 0,
      writeBacks: 3,
      resolves: 0,
      partsRepeated: 0,
      helped: 0,
      backOffs: 0,
    },
    clientDrops: { 'late-answer': 4 },
    receiveBufferBytes: 212_992,
    workers: null,
    members: null,
    ...change,
  };
}

/** Types that are not given did not occur. */
export function byType(latencies: Partial<Record<OperationType, LatencyHistogram>>): Ran['byType'] {
  const of = (latency = new LatencyHistogram()) => ({ count: latency.count, latency: latency.encode() });
  const { read, update, insert, rmw, scan } = latencies;
  return { read: of(read), update: of(update), insert: of(insert), rmw: of(rmw), scan: of(scan) };
}

/** So many operations of a hundredth of a millisecond, two hundredths and so on. */
export function latenciesOf(count: number): LatencyHistogram {
  const latency = new LatencyHistogram();
  for (let i = 1; i <= count; i++) latency.recordMs(i / 100);
  return latency;
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
