/**
 * The mixes of operations: YCSB's core workloads A to F (workloads/workloada and so on), or a proportion by hand. Each is
 * reads, or scans, and one other kind of operation.
 */
export const WORKLOAD_NAMES = ['A', 'B', 'C', 'D', 'E', 'F'] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

/** What has latencies of its own in a report. As in YCSB, both halves of a read-modify-write count as read and update too. */
export const OPERATION_TYPES = ['read', 'update', 'insert', 'rmw', 'scan'] as const;
export type OperationType = (typeof OPERATION_TYPES)[number];
/** What the operations of a mix that are no reads do. The last two are reported as rmw. */
export type WriteType = Exclude<OperationType, 'read' | 'scan'> | 'atomic rmw' | 'increment';

export interface Workload {
  /** A letter of YCSB, or "read 0.25" for a mix by hand. */
  readonly name: string;
  readonly readProportion: number;
  /** Inserts go with the latest choice of records unless there are scans, the others with the scrambled zipfian one. */
  readonly write: WriteType;
  /** What would be reads are scans. */
  readonly scans?: boolean;
}

const WORKLOADS: Readonly<Record<WorkloadName, Omit<Workload, 'name'>>> = {
  A: { readProportion: 0.5, write: 'update' },
  B: { readProportion: 0.95, write: 'update' },
  C: { readProportion: 1, write: 'update' },
  D: { readProportion: 0.95, write: 'insert' },
  E: { readProportion: 0.95, write: 'insert', scans: true },
  F: { readProportion: 0.5, write: 'rmw' },
};

export function isWorkloadName(name: string): name is WorkloadName {
  return (WORKLOAD_NAMES as readonly string[]).includes(name);
}

export function workloadOf(name: WorkloadName): Workload {
  return { name, ...WORKLOADS[name] };
}

/** F with the store's own read-modify-writes: whatever others write in between is noticed. */
export const ATOMIC_WORKLOAD: Workload = { name: 'F atomic', readProportion: 0.5, write: 'atomic rmw' };

/** Increments only. */
export const INCREMENT_WORKLOAD: Workload = { name: 'increments', readProportion: 0, write: 'increment' };

/** @param base Says what the operations do that are no reads. */
export function workloadOfProportion(readProportion: number, base: Workload): Workload {
  const { write, scans } = base;
  const name = `read ${readProportion}`;
  return {
    name: write === 'update' ? name : `${base.name} ${name}`,
    readProportion,
    write,
    ...(scans === true && { scans }),
  };
}

/** YCSB can change one field of ten; here an update writes all of the record. */
export const UPDATE_DESCRIPTION = 'an update replaces the whole record';
export const INSERT_DESCRIPTION =
  'an insert adds a record; each client inserts keys of its own, and reads these and the loaded ones';
export const RMW_DESCRIPTION =
  'a read-modify-write (rmw) is a get and then a put of the same record, as in YCSB: it is not atomic; its halves count as read and update too';

export const ATOMIC_DESCRIPTION =
  'an atomic read-modify-write (rmw) is a get and then a compare-and-set on its version, again until nobody came in between; get and last compare-and-set count as read and update too';
export const INCREMENT_DESCRIPTION = 'an increment adds 1 to a counter, in one operation of the store';

/** What the report says of the operations behind "rmw", by what they are. */
export function describeRmw(workloads: readonly Workload[]): string | undefined {
  const written = new Set(workloads.map(({ write }) => write));
  if (written.has('atomic rmw')) return ATOMIC_DESCRIPTION;
  if (written.has('increment')) return INCREMENT_DESCRIPTION;
  return written.has('rmw') ? RMW_DESCRIPTION : undefined;
}

export const SCAN_DESCRIPTION =
  'a scan reads 1 to 100 records (uniform) in the order of their keys, from a loaded one on; in a history each is a get';

const ZIPFIAN_DESCRIPTION = 'scrambled zipfian as in YCSB: theta 0.99 over 10^10 items';
const UNIFORM_DESCRIPTION = 'each as often';
const LATEST_DESCRIPTION = 'latest as in YCSB: zipfian, theta 0.99, from the last record whose insert is acknowledged';

export function describeDistributions(workloads: readonly Workload[]): string {
  const descriptions = [];
  if (workloads.some(({ write }) => write === 'increment')) return UNIFORM_DESCRIPTION;
  if (workloads.some(({ write, scans }) => write !== 'insert' || scans === true))
    descriptions.push(ZIPFIAN_DESCRIPTION);
  if (workloads.some(({ write, scans }) => write === 'insert' && scans !== true)) descriptions.push(LATEST_DESCRIPTION);
  return descriptions.join('; in workload D ');
}

const WRITE_NAMES: Readonly<Record<WriteType, string>> = {
  update: 'updates',
  insert: 'inserts',
  rmw: 'read-modify-writes',
  'atomic rmw': 'atomic read-modify-writes',
  increment: 'increments',
};

export function describeMix(mix: Omit<Workload, 'name'>): string {
  const reads = Math.round(mix.readProportion * 1_000) / 10;
  return `${reads} % ${mix.scans === true ? 'scans' : 'reads'}, ${Math.round((100 - reads) * 10) / 10} % ${WRITE_NAMES[mix.write]}`;
}
