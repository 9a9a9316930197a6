import { alignUp, writeU53 } from '../../net/bytes.ts';
import {
  FLAG_TOMBSTONE,
  MESSAGE_WRITE,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  writeHead,
} from '../../src/protocol/messages.ts';
import {
  ACCEPT_BYTES,
  COMMIT_BYTES,
  MESSAGE_ACCEPT,
  MESSAGE_COMMIT,
  WORD_ACCEPT_BALLOT,
  WORD_ACCEPT_COUNTER,
  WORD_ACCEPT_ID,
  WORD_ACCEPT_KEY,
  WORD_ACCEPT_SLOT,
  WORD_ACCEPT_WRITER,
  WORD_COMMIT_COUNTER,
  WORD_COMMIT_KEY,
  WORD_COMMIT_WRITER,
} from '../../src/protocol/rmw-messages.ts';
import type { Insider } from './insider.ts';

/** Messages that delete a key under any stamp, in anybody's name. */
export interface Writer {
  readonly writerHigh: number;
  readonly writerLow: number;
}

export function sendWrite(
  insider: Insider,
  member: number,
  key: string,
  counter: number,
  flags: number,
  writer: Writer,
): void {
  const bytes = Buffer.from(key);
  insider.send(member, WRITE_BYTES + alignUp(bytes.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_WRITE, flags | FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = bytes.length;
    writeU53(words, word + WORD_WRITE_COUNTER, counter);
    writeWriter(writer, words, word + WORD_WRITE_WRITER);
    control.bytes.set(bytes, 4 * (word + WORD_WRITE_KEY));
  });
}

export function sendAccept(insider: Insider, member: number, key: string, counter: number, writer: Writer): void {
  const bytes = Buffer.from(key);
  insider.send(member, ACCEPT_BYTES + alignUp(bytes.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_ACCEPT, FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = bytes.length;
    writeU53(words, word + WORD_ACCEPT_SLOT, 1);
    writeU53(words, word + WORD_ACCEPT_BALLOT, 1);
    writeWriter(writer, words, word + WORD_ACCEPT_BALLOT + 2);
    writeWriter(writer, words, word + WORD_ACCEPT_ID);
    writeU53(words, word + WORD_ACCEPT_ID + 2, 1);
    writeU53(words, word + WORD_ACCEPT_COUNTER, counter);
    writeWriter(writer, words, word + WORD_ACCEPT_WRITER);
    control.bytes.set(bytes, 4 * (word + WORD_ACCEPT_KEY));
  });
}

/** Of no slot: it only brings the stamp. */
export function sendCommit(insider: Insider, member: number, key: string, counter: number, writer: Writer): void {
  const bytes = Buffer.from(key);
  insider.send(member, COMMIT_BYTES + alignUp(bytes.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_COMMIT, FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = bytes.length;
    writeU53(words, word + WORD_COMMIT_COUNTER, counter);
    writeWriter(writer, words, word + WORD_COMMIT_WRITER);
    control.bytes.set(bytes, 4 * (word + WORD_COMMIT_KEY));
  });
}

function writeWriter({ writerLow, writerHigh }: Writer, words: Int32Array, word: number): void {
  words[word] = writerLow;
  words[word + 1] = writerHigh;
}
