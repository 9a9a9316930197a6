import {
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
} from './messages.ts';
import {
  PHASE_ACCEPT,
  PHASE_COMMIT,
  PHASE_FETCH,
  PHASE_PREPARE,
  PHASE_PULL,
  PHASE_READ,
  PHASE_RESOLVE,
  PHASE_RMW_FETCH,
  PHASE_SCAN,
  PHASE_SPREAD,
  PHASE_STAMP,
  PHASE_WRITE,
  PHASE_WRITE_BACK,
} from './operation-table.ts';
import { MESSAGE_RESOLVE_REPLY } from './resolve-messages.ts';
import {
  MESSAGE_ACCEPTED,
  MESSAGE_BEHIND,
  MESSAGE_COMMITTED,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PROMISE,
} from './rmw-messages.ts';
import { MESSAGE_SCAN_REPLY } from './scan-messages.ts';

/** Which messages answer what. */

/** Whether a message of this type answers what the phase asks. */
export function answers(type: number, phase: number): boolean {
  switch (phase) {
    case PHASE_READ:
      return type === MESSAGE_READ_REPLY || type === MESSAGE_READ_PART_REPLY;
    case PHASE_FETCH:
      return type === MESSAGE_READ_REPLY;
    case PHASE_STAMP:
      return type === MESSAGE_STAMP_REPLY;
    case PHASE_PULL:
      return type === MESSAGE_READ_PART_REPLY;
    case PHASE_WRITE:
    case PHASE_WRITE_BACK:
    case PHASE_SPREAD:
      return isAboutParts(type);
    case PHASE_PREPARE:
    case PHASE_RMW_FETCH:
      return type === MESSAGE_PROMISE || isHindrance(type);
    case PHASE_ACCEPT:
      return type === MESSAGE_ACCEPTED || isHindrance(type) || isAboutParts(type);
    case PHASE_COMMIT:
      return type === MESSAGE_COMMIT_REPLY || isAboutParts(type);
    case PHASE_RESOLVE:
      return type === MESSAGE_RESOLVE_REPLY;
    case PHASE_SCAN:
      return type === MESSAGE_SCAN_REPLY;
    default:
      return false;
  }
}

function isAboutParts(type: number): boolean {
  return type === MESSAGE_WRITE_REPLY || type === MESSAGE_WRITE_PROGRESS;
}

export function isRmwAnswer(type: number): boolean {
  return type === MESSAGE_PROMISE || type === MESSAGE_ACCEPTED || type === MESSAGE_COMMIT_REPLY || isHindrance(type);
}

function isHindrance(type: number): boolean {
  return type === MESSAGE_COMMITTED || type === MESSAGE_BEHIND || type === MESSAGE_NACK;
}
