import { readU53, writeU53 } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import { writeHead } from './message-fields.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';

/** COUNTERS: what a replica tells another of the counters of stamps (counter-guard.ts). */
export const MESSAGE_COUNTERS = 22;
/** To be answered with the receiver's own. */
export const FLAG_ASK = 1;
/** The greatest counter known u64, the greatest that is taken u64. */
export const WORD_COUNTERS_GREATEST = 2;
export const WORD_COUNTERS_CEILING = 4;
export const COUNTERS_BYTES = 24;

/** messageBytes() of this type. */
export function countersBytes(words: Int32Array, word: number, bytesLeft: number): number {
  if (bytesLeft < COUNTERS_BYTES) return -1;
  if (words[word + WORD_COUNTERS_GREATEST + 1]! >>> 21 !== 0) return -1;
  return words[word + WORD_COUNTERS_CEILING + 1]! >>> 21 === 0 ? COUNTERS_BYTES : -1;
}

export function sendCounters(
  messenger: Messenger,
  session: Session<Peer>,
  flags: number,
  greatest: number,
  ceiling: number,
): void {
  if (!messenger.append(session, COUNTERS_BYTES, 0)) return;
  const { word } = messenger.out;
  const { words } = messenger.out.control;
  writeHead(words, word, MESSAGE_COUNTERS, flags, 0, 0);
  writeU53(words, word + WORD_COUNTERS_GREATEST, greatest);
  writeU53(words, word + WORD_COUNTERS_CEILING, ceiling);
}

export function greatestOf(words: Int32Array, word: number): number {
  return readU53(words, word + WORD_COUNTERS_GREATEST);
}

export function ceilingOf(words: Int32Array, word: number): number {
  return readU53(words, word + WORD_COUNTERS_CEILING);
}
