/** The mixes of operations: YCSB's core workloads A, B and C (workloads/workloada, -b, -c), or a proportion by hand. */
export const WORKLOAD_NAMES = ['A', 'B', 'C'] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

/** Share of reads; the rest are updates. All three choose records by the scrambled zipfian distribution. */
const READ_PROPORTIONS: Readonly<Record<WorkloadName, number>> = { A: 0.5, B: 0.95, C: 1 };

export interface Workload {
  /** A letter of YCSB, or "read 0.25" for a mix by hand. */
  readonly name: string;
  readonly readProportion: number;
}

export function isWorkloadName(name: string): name is WorkloadName {
  return (WORKLOAD_NAMES as readonly string[]).includes(name);
}

export function workloadOf(name: WorkloadName): Workload {
  return { name, readProportion: READ_PROPORTIONS[name] };
}

export function workloadOfProportion(readProportion: number): Workload {
  return { name: `read ${readProportion}`, readProportion };
}

/** YCSB can change one field of ten; a record here has one field, so that an update writes all of it. */
export const UPDATE_DESCRIPTION = 'an update replaces the whole record';

export function describeMix(readProportion: number): string {
  const reads = Math.round(readProportion * 1_000) / 10;
  return `${reads} % reads, ${Math.round((100 - reads) * 10) / 10} % updates`;
}
