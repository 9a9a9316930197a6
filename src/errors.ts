/** Every error a caller can get, by stable code. Codes are part of the API: they are added, never renamed. */
export const ERROR_CODES = [
  /** A key that is empty, over 1,024 bytes, or no string or Uint8Array. */
  'INVALID_KEY',
  /** A value over the limit: 1 MiB, or one datagram where only that is taken; the message names it. */
  'VALUE_TOO_LARGE',
  'INVALID_ARGUMENT',
  /** The deadline passed and the operation certainly had no effect. */
  'DEADLINE_EXCEEDED',
  /** The caller aborted and the operation certainly had no effect. */
  'ABORTED',
  /** A write that may or may not take effect: deadline, abort or close came after it was sent. */
  'OUTCOME_UNKNOWN',
  /** More operations wait than the client's queue holds. */
  'QUEUE_FULL',
  'CLOSED',
  /** The replicas' trusted memory has no room for another key. Nothing was written. */
  'TRUSTED_MEMORY_FULL',
  /** The replicas' host memory has no room for the value. Nothing was written. */
  'HOST_MEMORY_FULL',
  /** Every copy of the newest value failed its check. A later put heals the key. */
  'VALUE_UNREADABLE',
  /** A malicious client has used up the stamp counters of the key. Nothing was written. */
  'STAMPS_EXHAUSTED',
  /** An increment of a value that is no decimal text of a signed 64-bit integer. Nothing was written. */
  'NOT_AN_INTEGER',
  /** An increment would leave the signed 64-bit integers. Nothing was written. */
  'OVERFLOW',
  /** Others changed the key during each attempt of an update. Nothing was written. */
  'CONTENDED',
  /** Too few replicas keep their keys in order. */
  'SCANS_OFF',
  /** This route has no such operation. */
  'NOT_SUPPORTED',
  /** The certificate does not permit the operation. */
  'NOT_PERMITTED',
  /** No quorum of members of one cluster instance answered. */
  'NO_QUORUM',
  /** The replicas refuse this client: another cluster, wire version, mode, or a bad certificate. */
  'REFUSED',
  /** The cluster was started anew since this client (or its caller) pinned its instance: its data is gone. */
  'INSTANCE_CHANGED',
  /** Missing, unreadable or inconsistent cluster files. */
  'CLUSTER_FILES',
  'PORT_IN_USE',
  /** This machine can't make the evidence asked for; the message says what it lacks. */
  'EVIDENCE_UNAVAILABLE',
  /** A policy, evidence or collateral file that is missing, unreadable or wrong; the message names the place in it. */
  'EVIDENCE_FILES',
  /** CAS or LAS refuse this process, or are not what they should be; the message names the rule, what is allowed and what was seen. */
  'ADMISSION_REFUSED',
  /** CAS or LAS do not answer, or can't decide now: trying again later may help. What runs already goes on. */
  'TRUST_UNAVAILABLE',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** The one error class of the public API. */
export class AvocadoError extends Error {
  override readonly name = 'AvocadoError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
