import type { Session } from '../../net/session.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';
import {
  INCARNATION_BYTES,
  MESSAGE_STATE,
  STATE_BYTES,
  WORD_STATE,
  WORD_STATE_EPOCH,
  WORD_STATE_INCARNATIONS,
  WORD_STATE_OWN,
  writeHead,
} from './messages.ts';

/**
 * STATE: what a replica says of itself, to other replicas while a cluster forms and to clients. "replaced" is no state
 * but an answer to voted and withdrawn: in the set named, the incarnation at the sender's place is gone.
 */
export const STATE_KINDS = ['forming', 'active', 'outside', 'voted', 'withdrawn', 'replaced'] as const;
export type StateKind = (typeof STATE_KINDS)[number];
export type MemberState = Exclude<StateKind, 'replaced'>;

export interface StateMessage {
  readonly state: StateKind;
  readonly memberIndex: number;
  readonly epoch: number;
  /** Hex. */
  readonly incarnation: string;
  /** forming: the set it proposes, empty while it knows not all; outside: empty; else the set. */
  readonly incarnations: readonly string[];
  /** withdrawn: bits of the members of the set that are gone, not 0; else 0. */
  readonly goneMask: number;
}

/** Undefined for a state of a later version. Lengths were checked by messageBytes. */
export function readState(words: Int32Array, word: number): StateMessage | undefined {
  const head = words[word + WORD_STATE]!;
  const state = STATE_KINDS[head & 0xff];
  if (state === undefined) return undefined;
  const memberCount = (head >>> 16) & 0xff;
  return {
    state,
    memberIndex: (head >>> 8) & 0xff,
    epoch: words[word + WORD_STATE_EPOCH]! >>> 0,
    incarnation: readIncarnation(words, word + WORD_STATE_OWN),
    incarnations: Array.from({ length: memberCount }, (_, i) =>
      readIncarnation(words, word + WORD_STATE_INCARNATIONS + (i * INCARNATION_BYTES) / 4),
    ),
    goneMask: head >>> 24,
  };
}

export function sendState(messenger: Messenger, session: Session<Peer>, message: StateMessage): void {
  const memberCount = message.incarnations.length;
  if (!messenger.append(session, STATE_BYTES + memberCount * INCARNATION_BYTES, 0)) return;
  const { word } = messenger.out;
  const { words } = messenger.out.control;
  writeHead(words, word, MESSAGE_STATE, 0, 0, 0);
  words[word + WORD_STATE] =
    STATE_KINDS.indexOf(message.state) | (message.memberIndex << 8) | (memberCount << 16) | (message.goneMask << 24);
  words[word + WORD_STATE_EPOCH] = message.epoch;
  writeIncarnation(words, word + WORD_STATE_OWN, message.incarnation);
  message.incarnations.forEach((incarnation, i) =>
    writeIncarnation(words, word + WORD_STATE_INCARNATIONS + (i * INCARNATION_BYTES) / 4, incarnation),
  );
}

function readIncarnation(words: Int32Array, word: number): string {
  return Buffer.from(words.buffer, words.byteOffset + word * 4, INCARNATION_BYTES).toString('hex');
}

function writeIncarnation(words: Int32Array, word: number, incarnation: string): void {
  Buffer.from(words.buffer, words.byteOffset + word * 4, INCARNATION_BYTES).write(incarnation, 'hex');
}
