/**
 * What a read-modify-write does to a key: a condition on what is found, and a change that is made when it holds.
 *
 *     compareAndSet   SET, if VALUE or VERSION         getAndSet   SET, no condition; the value before is the answer
 *     putIfAbsent     SET, if ABSENT                   increment   INCREMENT, no condition; the new value is the answer
 *     deleteIf        DELETE, if VALUE or VERSION
 *     re-sealing      RESEAL, no condition, when what is found lies under another data key than the current one
 */

/** The change. INCREMENT takes the value for the decimal text of a signed 64-bit integer, an absent key for 0. */
export const RMW_SET = 1;
export const RMW_DELETE = 2;
export const RMW_INCREMENT = 3;
/** Leaves the value as it is, sealed under the data key that is current. Of replicas only: no client asks for it. */
export const RMW_RESEAL = 4;
export type RmwChange = typeof RMW_SET | typeof RMW_DELETE | typeof RMW_INCREMENT | typeof RMW_RESEAL;

/** The condition. ABSENT: deleted, or never written. */
export const CONDITION_NONE = 0;
export const CONDITION_ABSENT = 1;
export const CONDITION_VALUE = 2;
export const CONDITION_VERSION = 3;
export type RmwCondition =
  | typeof CONDITION_NONE
  | typeof CONDITION_ABSENT
  | typeof CONDITION_VALUE
  | typeof CONDITION_VERSION;

/** A stamp (src/stamp.ts) as a caller holds it: the version of a value. All zero: the key was never written. */
export interface Stamp {
  readonly counter: number;
  /** Of the writer id, two int32 words. */
  readonly writerHigh: number;
  readonly writerLow: number;
  /** An int32 word. */
  readonly rmw: number;
}

export interface RmwRequest {
  readonly change: RmwChange;
  readonly condition: RmwCondition;
  /** RMW_SET: the new value; else empty. */
  readonly value: Uint8Array;
  /** CONDITION_VALUE: what must be found, byte for byte; else empty. */
  readonly expected: Uint8Array;
  /** CONDITION_VERSION: the stamp that must be found. */
  readonly version: Stamp | undefined;
  /** RMW_INCREMENT: what is added, a signed 64-bit integer. */
  readonly delta: bigint;
  /** Longest value that can be told to its caller, if there is a limit. What would have to tell more is not done. */
  readonly answerBytesMax?: number;
}
