import { alignUp } from '../../net/bytes.ts';
import { RIGHT_ADMIN, RIGHT_READ, RIGHT_WRITE } from '../trust/grants.ts';
import type { Permissions } from '../trust/permissions.ts';
import { CALL_DELETE, CALL_PUT, WORD_CALL_KEY, WORD_CALL_KEY_BYTES, isReadOnly } from './call-messages.ts';
import {
  CALL_PART_BYTES,
  callBodyBytes,
  callPartBytesOf,
  callPartIndexOf,
  callPartLengthBytes,
} from './call-part-messages.ts';
import {
  FLAG_GONE,
  FLAG_NOT_PERMITTED,
  FLAG_REPAIR,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_REPLY,
  READ_PART_REPLY_BYTES,
  READ_REPLY_BYTES,
  STAMP_REPLY_BYTES,
  STATUS_BYTES,
  WORD_ASK_KEY,
  WORD_KEY_BYTES,
  WORD_READ_PART_KEY,
  WORD_WRITE_KEY,
  WRITE_REPLY_BYTES,
  flagsOf,
  partIndexOf,
  slotOf,
  typeOf,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Session } from '../../net/session.ts';
import type { Peer } from './peer.ts';
import { MESSAGE_RESOLVE, MESSAGE_RESOLVE_REPLY, RESOLVE_REPLY_BYTES, WORD_RESOLVE_KEY } from './resolve-messages.ts';
import {
  COMMIT_REPLY_BYTES,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  MESSAGE_COMMIT_REPLY,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  NACK_BYTES,
  WORD_ACCEPT_KEY,
  WORD_COMMIT_KEY,
  WORD_PREPARE_KEY,
} from './rmw-messages.ts';
import {
  MESSAGE_READ_ACCEPTED,
  MESSAGE_STAGE_PART,
  WORD_READ_ACCEPTED_KEY,
  WORD_STAGE_KEY,
} from './rmw-part-messages.ts';
import {
  MESSAGE_SCAN,
  MESSAGE_SCAN_REPLY,
  SCAN_REPLY_BYTES,
  WORD_SCAN_END_BYTES,
  WORD_SCAN_START,
  WORD_SCAN_START_BYTES,
} from './scan-messages.ts';

/**
 * Which right each message needs, on which keys. A replica asks this of every message before it does anything for it; what
 * is not listed nobody may send. Calls are asked about apart (isCallPermitted), as their answers are.
 */
export function isPermitted(permissions: Permissions, words: Int32Array, word: number): boolean {
  switch (typeOf(words, word)) {
    case MESSAGE_READ:
      return allowsKey(permissions, RIGHT_READ, words, word, WORD_ASK_KEY);
    case MESSAGE_STAMP:
      return allowsKey(permissions, RIGHT_WRITE, words, word, WORD_ASK_KEY);
    case MESSAGE_WRITE:
      return allowsKey(permissions, RIGHT_WRITE, words, word, WORD_WRITE_KEY);
    case MESSAGE_READ_PART:
      return allowsKey(permissions, RIGHT_READ, words, word, WORD_READ_PART_KEY);
    case MESSAGE_WRITE_PART:
      return isPartPermitted(permissions, words, word);
    case MESSAGE_REPAIR:
      // It changes nothing but a copy that does not open, to what it was: readers send it.
      return allowsKey(permissions, RIGHT_READ, words, word, WORD_WRITE_KEY);
    // It changes nothing but who holds what was written, as reading does.
    case MESSAGE_RESOLVE:
      return allowsKey(permissions, RIGHT_READ, words, word, WORD_RESOLVE_KEY);
    case MESSAGE_SCAN:
      return isScanPermitted(permissions, words, word);
    // They tell what was there.
    case MESSAGE_PREPARE:
      return allowsKey(permissions, RIGHT_READ | RIGHT_WRITE, words, word, WORD_PREPARE_KEY);
    case MESSAGE_ACCEPT:
      return allowsKey(permissions, RIGHT_READ | RIGHT_WRITE, words, word, WORD_ACCEPT_KEY);
    case MESSAGE_COMMIT:
      return allowsKey(permissions, RIGHT_READ | RIGHT_WRITE, words, word, WORD_COMMIT_KEY);
    case MESSAGE_STAGE_PART:
      return isStagePermitted(permissions, words, word);
    case MESSAGE_READ_ACCEPTED:
      return allowsKey(permissions, RIGHT_READ | RIGHT_WRITE, words, word, WORD_READ_ACCEPTED_KEY);
    case MESSAGE_STATUS_REQUEST:
      return (permissions.everywhere & RIGHT_ADMIN) !== 0;
    default:
      return false;
  }
}

/** What a client may not do itself no replica does for it. */
export function isCallPermitted(permissions: Permissions, kind: number, words: Int32Array, word: number): boolean {
  const rights = rightsOfCall(kind);
  return permissions.allows(rights, words, word + WORD_CALL_KEY, words[word + WORD_CALL_KEY_BYTES]!);
}

/**
 * Whether a CALL_PART may take up memory; the CALL is asked about once more when it is whole. The first part has the key: of
 * who sends others first, or cuts the key, it is asked only whether he could have made such a call for some key.
 */
export function isCallPartPermitted(permissions: Permissions, words: Int32Array, word: number): boolean {
  const rights = rightsOfCall(flagsOf(words, word));
  const keyBytes = words[word + WORD_CALL_KEY_BYTES]!;
  const partBytes = callPartLengthBytes(0, callPartBytesOf(words, word), callBodyBytes(words, word));
  if (callPartIndexOf(words, word) === 0 && keyBytes <= partBytes)
    return permissions.allows(rights, words, word + CALL_PART_BYTES / 4, keyBytes);
  return (rights & ~permissions.somewhere) === 0;
}

function rightsOfCall(kind: number): number {
  if (isReadOnly(kind)) return RIGHT_READ;
  return kind === CALL_PUT || kind === CALL_DELETE ? RIGHT_WRITE : RIGHT_READ | RIGHT_WRITE;
}

function allowsKey(
  permissions: Permissions,
  rights: number,
  words: Int32Array,
  word: number,
  keyOffset: number,
): boolean {
  return permissions.allows(rights, words, word + keyOffset, words[word + WORD_KEY_BYTES]!);
}

/**
 * Only the first part has the key, and nothing is applied without it. The others need a place in host memory, which is not
 * for those who may write, or repair, no key at all.
 */
function isPartPermitted(permissions: Permissions, words: Int32Array, word: number): boolean {
  const right = (flagsOf(words, word) & FLAG_REPAIR) !== 0 ? RIGHT_READ : RIGHT_WRITE;
  if (partIndexOf(words, word) === 0) return allowsKey(permissions, right, words, word, WORD_WRITE_KEY);
  return (permissions.somewhere & right) !== 0;
}

/** As of a WRITE_PART, for who may make proposals. */
function isStagePermitted(permissions: Permissions, words: Int32Array, word: number): boolean {
  const rights = RIGHT_READ | RIGHT_WRITE;
  if (partIndexOf(words, word) === 0) return allowsKey(permissions, rights, words, word, WORD_STAGE_KEY);
  return (rights & ~permissions.somewhere) === 0;
}

function isScanPermitted(permissions: Permissions, words: Int32Array, word: number): boolean {
  const startBytes = words[word + WORD_SCAN_START_BYTES]!;
  const startWord = word + WORD_SCAN_START;
  const endWord = startWord + (alignUp(startBytes) >> 2);
  return permissions.allowsRange(RIGHT_READ, words, startWord, startBytes, endWord, words[word + WORD_SCAN_END_BYTES]!);
}

/** By kind of message: the answer that says that it is not permitted, its bytes, and what else its flags say. */
const DENIALS: ReadonlyMap<number, readonly [type: number, byteCount: number, flags: number]> = new Map([
  [MESSAGE_READ, [MESSAGE_READ_REPLY, READ_REPLY_BYTES, 0]],
  [MESSAGE_STAMP, [MESSAGE_STAMP_REPLY, STAMP_REPLY_BYTES, 0]],
  [MESSAGE_WRITE, [MESSAGE_WRITE_REPLY, WRITE_REPLY_BYTES, 0]],
  [MESSAGE_WRITE_PART, [MESSAGE_WRITE_REPLY, WRITE_REPLY_BYTES, 0]],
  // The reader begins again with a READ, and is told then.
  [MESSAGE_READ_PART, [MESSAGE_READ_PART_REPLY, READ_PART_REPLY_BYTES, FLAG_GONE]],
  [MESSAGE_RESOLVE, [MESSAGE_RESOLVE_REPLY, RESOLVE_REPLY_BYTES, 0]],
  [MESSAGE_SCAN, [MESSAGE_SCAN_REPLY, SCAN_REPLY_BYTES, 0]],
  [MESSAGE_PREPARE, [MESSAGE_NACK, NACK_BYTES, 0]],
  [MESSAGE_ACCEPT, [MESSAGE_NACK, NACK_BYTES, 0]],
  [MESSAGE_COMMIT, [MESSAGE_COMMIT_REPLY, COMMIT_REPLY_BYTES, 0]],
  [MESSAGE_STAGE_PART, [MESSAGE_WRITE_REPLY, WRITE_REPLY_BYTES, 0]],
  [MESSAGE_READ_ACCEPTED, [MESSAGE_READ_PART_REPLY, READ_PART_REPLY_BYTES, FLAG_GONE]],
  [MESSAGE_STATUS_REQUEST, [MESSAGE_STATUS, STATUS_BYTES, 0]],
]);

/** Answers a message that is not permitted, where its kind has an answer. It says nothing of the key: all else is zero. */
export function deny(session: Session<Peer>, messenger: Messenger, words: Int32Array, word: number): void {
  const denial = DENIALS.get(typeOf(words, word));
  if (denial === undefined) return;
  const [type, byteCount, flags] = denial;
  if (!messenger.append(session, byteCount, 0)) return;
  const { out } = messenger;
  const target = out.control.words;
  writeHead(target, out.word, type, flags | FLAG_NOT_PERMITTED, slotOf(words, word), words[word + 1]!);
  target.fill(0, out.word + 2, out.word + byteCount / 4);
}
