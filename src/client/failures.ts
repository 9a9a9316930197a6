import { AvocadoError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { Answer, ScanOutcome } from '../protocol/outcome.ts';

/** What a call's failure is to its caller: code and text by outcome. */

type Failure = Exclude<ScanOutcome, Answer>;

const FAILURES: Record<Failure, readonly [ErrorCode, string]> = {
  deadline: ['DEADLINE_EXCEEDED', 'no quorum answered before the deadline; it had no effect'],
  aborted: ['ABORTED', 'the caller aborted it; it had no effect'],
  'outcome-unknown': [
    'OUTCOME_UNKNOWN',
    'it was sent but a quorum did not acknowledge it in time: it may or may not take effect; read the key to see',
  ],
  'trusted-memory-full': [
    'TRUSTED_MEMORY_FULL',
    'the replicas’ trusted memory has no room for another key, or for the call; nothing was written: raise --trusted-memory of the replicas',
  ],
  'host-memory-full': [
    'HOST_MEMORY_FULL',
    'the replicas’ host memory has no room for the value; nothing was written: raise --host-memory of the replicas',
  ],
  unreadable: ['VALUE_UNREADABLE', 'every copy of the newest value failed its check; a new put heals the key'],
  'stamps-exhausted': [
    'STAMPS_EXHAUSTED',
    'a writer has used up the stamps of this key; it had no effect: find out whose certificate did that',
  ],
  'scans-off': ['SCANS_OFF', 'too few replicas keep their keys in order: start them without --no-scans'],
  'not-permitted': ['NOT_PERMITTED', 'the certificate does not permit it for this key, or for all of the range'],
  closed: ['CLOSED', 'the client is closed; it had no effect'],
  'too-large': [
    'VALUE_TOO_LARGE',
    'the value that is there does not fit into one datagram, as read-modify-writes of the coordinated route need it; it had no effect',
  ],
  'not-an-integer': [
    'NOT_AN_INTEGER',
    'the value is no whole number of 64 bits in decimal, without spaces or leading zeros; it had no effect',
  ],
  overflow: ['OVERFLOW', 'the sum does not fit into a signed 64-bit integer; it had no effect'],
  'done-too-large': [
    'VALUE_TOO_LARGE',
    'it took effect, but the value that was there does not fit into one datagram of the coordinated route, and is lost',
  ],
  'value-too-large': [
    'VALUE_TOO_LARGE',
    'the value that is there does not fit into one datagram, as answers to read-modify-writes of the coordinated route need it; it had no effect',
  ],
};

/** Of a client whose grants do not cover the key's space: it may know single values, not the key that opens them all. */
export function noDataKeyError(callName: string): AvocadoError {
  return new AvocadoError(
    'NOT_PERMITTED',
    `${callName}: this client has no data key for the key's space, as no grant of its to read covers it; take the coordinated route, where replicas seal and open: --route coordinated`,
  );
}

export function errorOf(callName: string, outcome: Failure): AvocadoError {
  const [code, text] = FAILURES[outcome];
  return new AvocadoError(code, `${callName}: ${text}`);
}
