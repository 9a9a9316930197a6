import { randomBytes } from 'node:crypto';
import { alignUp, writeU53 } from '../../net/bytes.ts';
import { stampOf } from '../../src/client/version.ts';
import { COUNTER_STEP_MAX } from '../../src/protocol/counter-guard.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_WRITE_BACK,
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
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import type { Attack, Moved } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { Insider } from './insider.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';

/** A client that wants nobody to write any more: who can name the last counter leaves none behind it. */
const STEPS = 200;
/** A quorum needs a few round trips for it. */
const PUT_DEADLINE_MS = 10_000;

export const poisonedCounter: Attack = {
  name: 'poisoned-counter',
  deed: 'a client writes with the last counter of stamps there is, by each message that has one, and by steps towards it',
  power: 'insider',
  whyNot: () => undefined,
  async run(scene) {
    const key = scene.key('poisoned');
    const value = randomBytes(VALUE_BYTES);
    const members = [...scene.hosts.keys()];
    const before: number[] = [];
    for (const member of members) before.push(await scene.dropsOf(member, 'counter-too-far'));
    const insider = await Insider.open(scene);
    try {
      for (const member of members) poison(insider, member, Buffer.from(key));
      for (const member of members) await scene.settled(member);
      await scene.client.put(key, value, { deadlineMs: PUT_DEADLINE_MS });
      let harm = (await scene.wrongValueOf(key, value)) ?? (await lostCounters(scene, key));
      const moved: Moved[] = [];
      for (const member of members) {
        let after = 0;
        const isNoticed = await scene.until(async () => {
          after = await scene.dropsOf(member, 'counter-too-far');
          return after > before[member]!;
        });
        if (!isNoticed) harm ??= UNNOTICED;
        moved.push(dropsMoved(member, 'counter-too-far', before[member]!, after));
      }
      return { harm, moved };
    } finally {
      await insider.close();
    }
  },
};

/** The key is written from here on, so what was taken of it shows in the next counter. */
async function lostCounters(scene: Scene, key: string): Promise<string | undefined> {
  const { counter } = stampOf((await scene.client.getWithVersion(key)).version);
  const uptimes = await Promise.all([...scene.hosts.keys()].map((member) => scene.statusOf(member)));
  const seconds = Math.max(...uptimes.map(({ uptimeMs = 0 }) => uptimeMs)) / 1_000;
  const bound = COUNTER_STEP_MAX * (2 + seconds);
  return counter <= bound ? undefined : `the counter is ${counter}, after ${Math.round(seconds)} s: it will be used up`;
}

function poison(insider: Insider, member: number, key: Buffer): void {
  const counters = [
    STAMP_COUNTER_MAX,
    ...Array.from({ length: STEPS }, (_, step) => Math.min((step + 2) * COUNTER_STEP_MAX, STAMP_COUNTER_MAX)),
  ];
  for (const counter of counters) {
    sendWrite(insider, member, key, counter, 0);
    sendWrite(insider, member, key, counter, FLAG_WRITE_BACK);
  }
  sendAccept(insider, member, key);
  sendCommit(insider, member, key);
}

/** It deletes the key. */
function sendWrite(insider: Insider, member: number, key: Buffer, counter: number, flags: number): void {
  insider.send(member, WRITE_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_WRITE, flags | FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    writeU53(words, word + WORD_WRITE_COUNTER, counter);
    writeWriter(insider, words, word + WORD_WRITE_WRITER);
    control.bytes.set(key, 4 * (word + WORD_WRITE_KEY));
  });
}

function sendAccept(insider: Insider, member: number, key: Buffer): void {
  insider.send(member, ACCEPT_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_ACCEPT, FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    writeU53(words, word + WORD_ACCEPT_SLOT, 1);
    writeU53(words, word + WORD_ACCEPT_BALLOT, 1);
    writeWriter(insider, words, word + WORD_ACCEPT_BALLOT + 2);
    writeWriter(insider, words, word + WORD_ACCEPT_ID);
    writeU53(words, word + WORD_ACCEPT_ID + 2, 1);
    writeU53(words, word + WORD_ACCEPT_COUNTER, STAMP_COUNTER_MAX);
    writeWriter(insider, words, word + WORD_ACCEPT_WRITER);
    control.bytes.set(key, 4 * (word + WORD_ACCEPT_KEY));
  });
}

/** Of no slot: it only brings the stamp. */
function sendCommit(insider: Insider, member: number, key: Buffer): void {
  insider.send(member, COMMIT_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_COMMIT, FLAG_TOMBSTONE, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    writeU53(words, word + WORD_COMMIT_COUNTER, STAMP_COUNTER_MAX);
    writeWriter(insider, words, word + WORD_COMMIT_WRITER);
    control.bytes.set(key, 4 * (word + WORD_COMMIT_KEY));
  });
}

function writeWriter({ writerLow, writerHigh }: Insider, words: Int32Array, word: number): void {
  words[word] = writerLow;
  words[word + 1] = writerHigh;
}
