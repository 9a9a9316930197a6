import { alignUp, writeU53 } from '../../net/bytes.ts';
import type { Outgoing } from '../../net/outbox.ts';
import {
  CALL_BYTES,
  CALL_KIND_MAX,
  CALL_OPEN_BYTES,
  CALL_SLOTS_MAX,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
} from '../../src/protocol/call-messages.ts';
import {
  CALL_PART_BYTES,
  CALL_PULL_BYTES,
  CALL_REPLY_PART_BYTES,
  MESSAGE_CALL_PART,
  MESSAGE_CALL_PULL,
  MESSAGE_CALL_REPLY_PART,
  WORD_CALL_PART,
  WORD_CALL_PART_VALUE_BYTES,
  WORD_PULL_ANSWER,
  WORD_PULL_BYTES,
  WORD_PULL_OFFSET,
  WORD_PULL_STREAM,
} from '../../src/protocol/call-part-messages.ts';
import { OPERATION_PUT } from '../../src/protocol/operation-table.ts';
import {
  ASK_BYTES,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  GRANTED_PARTS_MAX,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  READ_PART_BYTES,
  READ_PART_REPLY_BYTES,
  READ_REPLY_BYTES,
  STATUS_REQUEST_BYTES,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_PART,
  WORD_READ_GRANT,
  WORD_READ_PART_BYTES,
  WORD_READ_PART_COUNTER,
  WORD_READ_PART_KEY,
  WORD_READ_PART_OFFSET,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WORD_WRITE_TAG,
  WORD_WRITE_WRITER,
  WRITE_BYTES,
  WRITE_PROGRESS_BYTES,
  grantOf,
  partLengthBytes,
  writeHead,
} from '../../src/protocol/messages.ts';
import { sendHostileChange } from './hostile-changes.ts';
import { writeGarbage } from './garbage.ts';
import { HOSTILE_KEYS } from './hostile-keys.ts';
import type { OddClient } from './odd-client.ts';
import { poisonedCounter } from './poison.ts';

/**
 * What a client with a valid key may try: every message that the protocol forbids, on keys that are not judged, for
 * whoever holds the data key can spoil what it may write. The replicas, and everybody else's keys, must not suffer.
 */
const GARBAGE_BYTES = 64;
const UNKNOWN_TYPE = 99;
/** A WRITE of so many bytes more than its key needs. */
const KEY_BYTES_TOO_MANY = 1_000_000;

type Trick = (client: OddClient, member: number) => void;

/** One hostile message to a member. */
export function sendHostileMessage(client: OddClient, member: number): void {
  const { dice } = client;
  dice.pick(TRICKS)(client, member);
}

const TRICKS: readonly Trick[] = [
  // Two values under one stamp.
  (client, member) => sendWrite(client, member, { key: 'hostile-conflict', counter: client.dice.integer(1, 3) }),
  // Counters that nobody could go beyond any more.
  ...[0, 0, FLAG_WRITE_BACK].map(
    (flags): Trick =>
      (client, member) =>
        sendWrite(client, member, { key: 'hostile-greatest', counter: poisonedCounter(client), flags }),
  ),
  (client, member) => {
    const counter = poisonedCounter(client);
    for (const part of [0, 1, 2, 3]) sendPart(client, member, { key: 'hostile-greatest', counter, part });
  },
  // A value that nobody can open.
  (client, member) => sendWrite(client, member, { key: 'hostile-garbage', counter: client.dice.integer(1, 1_000) }),
  (client, member) =>
    sendWrite(client, member, {
      key: 'hostile-garbage',
      counter: client.dice.integer(1, 1_000),
      flags: FLAG_WRITE_BACK,
    }),
  // In another's name.
  (client, member) => sendWrite(client, member, { key: 'hostile-garbage', counter: 1, writerAhead: 1 }),
  // No stamp at all.
  (client, member) => sendWrite(client, member, { key: 'hostile-garbage', counter: 0 }),
  (client, member) => sendWrite(client, member, { key: 'hostile-garbage', counter: 1, type: MESSAGE_REPAIR }),
  (client, member) => sendAsk(client, member, MESSAGE_READ, client.dice.integer(0, 1) * FLAG_VALUE, 0),
  (client, member) => sendAsk(client, member, MESSAGE_STAMP, 0, 0),
  // Of another epoch.
  (client, member) => sendAsk(client, member, MESSAGE_READ, FLAG_VALUE, client.dice.pick([-1, 1, 1_000])),
  // What only replicas send.
  (client, member) =>
    client.send(member, READ_REPLY_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_READ_REPLY, FLAG_TOMBSTONE, 0, 0);
    }),
  // Values of which a part comes, and never another.
  (client, member) => {
    for (let i = client.dice.integer(1, 20); i > 0; i--) {
      sendPart(client, member, {
        key: 'hostile-garbage',
        counter: client.dice.integer(1, 1_000_000),
        part: client.dice.integer(0, 3),
      });
    }
  },
  // All of a value that nobody can open; or of two, under one stamp; or as a repair of nothing.
  (client, member) => {
    const { dice } = client;
    const counter = dice.integer(1, 3);
    const key = dice.pick(HOSTILE_KEYS);
    const flags = dice.pick([0, 0, FLAG_WRITE_BACK, FLAG_REPAIR]);
    for (const part of dice.shuffled([0, 1, 2, 3])) {
      sendPart(client, member, { key, counter, flags, part, tag: dice.integer(1, 2) });
    }
  },
  // Parts in another's name, of no stamp, of no value, behind the last one.
  (client, member) =>
    sendPart(client, member, { key: 'hostile-garbage', counter: 1, part: 1, writerAhead: client.dice.integer(0, 1) }),
  (client, member) => sendPart(client, member, { key: 'hostile-garbage', counter: 0, part: 1 }),
  (client, member) => sendPart(client, member, { key: 'hostile-garbage', counter: 1, part: 4 }),
  // Parts of what is not there, or not so long, or of no length.
  (client, member) => sendReadPart(client, member),
  (client, member) =>
    client.send(member, WRITE_PROGRESS_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_WRITE_PROGRESS, client.dice.integer(0, 1), 0, 1);
    }),
  (client, member) =>
    client.send(member, READ_PART_REPLY_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_READ_PART_REPLY, client.dice.integer(0, 1), 0, 1);
    }),
  // Nothing that anybody knows, and a key that is longer than its datagram.
  (client, member) =>
    client.send(member, ASK_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, UNKNOWN_TYPE, 0, 0, 0);
    }),
  (client, member) =>
    client.send(member, ASK_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_READ, 0, 0, 0);
      control.words[word + WORD_KEY_BYTES] = KEY_BYTES_TOO_MANY;
    }),
  // Streams and calls as they come.
  (client, member) =>
    sendCallOpen(client, member, client.dice.integer(0, 3), client.dice.pick([0, 1, 4, CALL_SLOTS_MAX + 1])),
  sendCall,
  sendCall,
  // Calls by parts: some and never the rest; all, in any order; of other lengths than those before; of finished ones.
  (client, member) => {
    const slot = client.dice.integer(0, 3);
    const generation = client.dice.integer(0, 3);
    const stream = client.streamAt(member);
    for (const part of client.dice.shuffled([0, 1, 2, 3]).slice(client.dice.integer(0, 3))) {
      sendCallPart(client, member, { slot, generation, stream, part });
    }
  },
  (client, member) => {
    for (let i = client.dice.integer(1, 30); i > 0; i--) {
      sendCallPart(client, member, {
        slot: client.dice.integer(0, 5),
        // Mostly of a later call than the one before in its slot.
        generation: client.dice.pick([client.dice.integer(0, 100), Math.floor(client.elapsedMs()) * 32 + 32 - i]),
        stream: client.dice.pick([client.streamAt(member), client.dice.integer(0, 12)]),
        part: client.dice.integer(0, 5),
        valueBytes: client.dice.pick([
          CALL_PARTS_VALUE_BYTES,
          500,
          200_000,
          200_000,
          200_000,
          600_000,
          2 ** 20,
          2 ** 20 + 1,
        ]),
      });
    }
  },
  // A large call in each slot, so that its share of memory is full.
  (client, member) => {
    const stream = client.streamAt(member);
    for (let slot = 0; slot < 4; slot++) {
      const generation = Math.floor(client.elapsedMs()) * 32 + 31;
      sendCallPart(client, member, { slot, generation, stream, part: client.dice.integer(1, 5), valueBytes: 200_000 });
    }
  },
  sendCallPull,
  (client, member) =>
    client.send(member, CALL_REPLY_PART_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_CALL_REPLY_PART, client.dice.integer(0, 1), 0, 1);
    }),
  ...Array.from(
    { length: 5 },
    (): Trick => (client, member) => {
      sendHostileChange(client, member, client.dice.pick(HOSTILE_KEYS));
    },
  ),
  (client, member) =>
    client.send(member, STATUS_REQUEST_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_STATUS_REQUEST, 0, 0, 0);
    }),
];

export interface Write {
  readonly key: string;
  readonly counter: number;
  readonly type?: number;
  readonly flags?: number;
  readonly writerAhead?: number;
}

/** A WRITE or REPAIR of bytes that nobody has sealed. */
export function sendWrite(client: OddClient, member: number, write: Write): void {
  const key = Buffer.from(write.key);
  const { dice, writerLow, writerHigh } = client;
  client.send(member, WRITE_BYTES + alignUp(key.length), GARBAGE_BYTES, ({ control, word, packet, valueWord }) => {
    const { words } = control;
    writeHead(words, word, write.type ?? MESSAGE_WRITE, write.flags ?? 0, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    words[word + WORD_ENVELOPE_BYTES] = GARBAGE_BYTES;
    writeU53(words, word + WORD_WRITE_COUNTER, write.counter);
    words[word + WORD_WRITE_WRITER] = writerLow + (write.writerAhead ?? 0);
    words[word + WORD_WRITE_WRITER + 1] = writerHigh;
    words[word + WORD_WRITE_TAG] = dice.integer(0, 0x7fff_ffff);
    writeGarbage(packet.words, valueWord, dice);
    control.bytes.set(key, 4 * (word + WORD_WRITE_KEY));
  });
}

interface Part extends Write {
  readonly part: number;
  readonly tag?: number;
}

const PART_BYTES = 64;
/** 1 MiB has some 1,000 of them. */
const LARGE_PART_BYTES = 1_040;
/** Three parts, and the key. */
const PARTS_VALUE_BYTES = 3 * PART_BYTES - 5;

/** One part of a value that nobody has sealed. */
export function sendPart(client: OddClient, member: number, write: Part): void {
  const key = Buffer.from(write.key);
  const { dice, writerLow, writerHigh } = client;
  const isKey = write.part === 0;
  const pieceBytes = Math.max(0, partLengthBytes(write.part, PART_BYTES, PARTS_VALUE_BYTES));
  client.send(member, WRITE_BYTES + (isKey ? alignUp(key.length) : 0), pieceBytes, (out) => {
    const { words } = out.control;
    const { word } = out;
    writeHead(words, word, MESSAGE_WRITE_PART, write.flags ?? 0, 0, 0);
    words[word + WORD_KEY_BYTES] = isKey ? key.length : 0;
    words[word + WORD_ENVELOPE_BYTES] = PARTS_VALUE_BYTES;
    writeU53(words, word + WORD_WRITE_COUNTER, write.counter);
    words[word + WORD_WRITE_WRITER] = writerLow + (write.writerAhead ?? 0);
    words[word + WORD_WRITE_WRITER + 1] = writerHigh;
    words[word + WORD_PART] = write.part | ((PART_BYTES / 8) << 16);
    words[word + WORD_WRITE_TAG] = write.tag ?? 1;
    if (isKey) out.control.bytes.set(key, 4 * (word + WORD_WRITE_KEY));
    else if (pieceBytes > 0) writeGarbage(out.packet.words, out.valueWord, dice);
  });
}

function sendReadPart(client: OddClient, member: number): void {
  const key = Buffer.from(client.dice.pick(HOSTILE_KEYS));
  client.send(member, READ_PART_BYTES + alignUp(key.length), 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_READ_PART, 0, 0, 0);
    words[word + WORD_KEY_BYTES] = key.length;
    words[word + WORD_READ_PART_BYTES] = client.dice.pick([0, 1, 8, 64, 2_000, 1_000_000]);
    words[word + WORD_READ_PART_OFFSET] = client.dice.pick([0, 1, 8, 64, 128, 1_000_000]);
    writeU53(words, word + WORD_READ_PART_COUNTER, client.dice.integer(0, 3));
    control.bytes.set(key, 4 * (word + WORD_READ_PART_KEY));
  });
}

export function sendCallOpen(client: OddClient, member: number, generation: number, slotCount: number): void {
  client.send(member, CALL_OPEN_BYTES, 0, ({ control, word }) => {
    writeHead(control.words, word, MESSAGE_CALL_OPEN, 0, 0, generation);
    control.words[word + WORD_CALL_SLOTS] = slotCount;
    control.words[word + WORD_CALL_SLOTS + 1] = 0;
  });
}

function sendCall(client: OddClient, member: number): void {
  const { dice } = client;
  const key = Buffer.from(dice.pick(HOSTILE_KEYS));
  const kind = dice.integer(0, CALL_KIND_MAX);
  const valueBytes = kind === OPERATION_PUT ? GARBAGE_BYTES : 0;
  client.send(member, CALL_BYTES + alignUp(key.length) + valueBytes, 0, ({ control, word }) => {
    const { words } = control;
    words.fill(0, word, word + ((CALL_BYTES + alignUp(key.length)) >> 2));
    writeHead(words, word, MESSAGE_CALL, kind, dice.integer(0, 4), dice.integer(0, 3));
    words[word + WORD_CALL_KEY_BYTES] = key.length;
    words[word + WORD_CALL_VALUE_BYTES] = valueBytes;
    words[word + WORD_CALL_STREAM] = dice.pick([client.streamAt(member), dice.integer(0, 12)]);
    words[word + WORD_CALL_DEADLINE_MS] = dice.integer(0, 1_000);
    control.bytes.set(key, 4 * (word + WORD_CALL_KEY));
  });
}

interface CallPart {
  readonly slot: number;
  readonly generation: number;
  readonly stream: number;
  readonly part: number;
  readonly valueBytes?: number;
}

/** With the key, padded, four parts. */
const CALL_PARTS_VALUE_BYTES = 4 * PART_BYTES - 24;

/** One part of a call that puts zeros, under a key that it has only with its first part. */
export function sendCallPart(client: OddClient, member: number, call: CallPart): void {
  const key = Buffer.from(client.dice.pick(HOSTILE_KEYS));
  const { slot, generation, stream, part, valueBytes = CALL_PARTS_VALUE_BYTES } = call;
  const partBytes = valueBytes > PART_BYTES * 512 ? LARGE_PART_BYTES : PART_BYTES;
  client.send(member, CALL_PART_BYTES + partBytes, 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_CALL_PART, OPERATION_PUT, slot, generation);
    words[word + WORD_CALL_KEY_BYTES] = key.length;
    words[word + WORD_CALL_PART_VALUE_BYTES] = valueBytes;
    words[word + WORD_CALL_STREAM] = stream;
    words[word + WORD_CALL_DEADLINE_MS] = client.dice.integer(0, 1_000);
    words[word + WORD_CALL_PART] = part | ((partBytes / 8) << 16);
    if (part === 0) control.bytes.set(key, 4 * word + CALL_PART_BYTES);
  });
}

/** Of an answer that it was never given, or that is another's. */
function sendCallPull(client: OddClient, member: number): void {
  const { dice } = client;
  client.send(member, CALL_PULL_BYTES, 0, ({ control, word }) => {
    const { words } = control;
    writeHead(words, word, MESSAGE_CALL_PULL, 0, dice.integer(0, 5), dice.integer(0, 3));
    words[word + WORD_PULL_STREAM] = dice.pick([client.streamAt(member), dice.integer(0, 12)]);
    words[word + WORD_PULL_ANSWER] = dice.integer(0, 12);
    words[word + WORD_PULL_OFFSET] = dice.pick([0, 8, 1_024, 1_000_000]);
    words[word + WORD_PULL_BYTES] = dice.pick([0, 1, 64, 1_000, 1_000_000]);
  });
}

/** Of few, many and far too many parts, of no, little, usual and impossible length. */
const GRANTS = [0, 1, -1, grantOf(1, 8), grantOf(GRANTED_PARTS_MAX, 64), grantOf(3, 60_000), grantOf(0xffff, 8)];

function sendAsk(client: OddClient, member: number, type: number, flags: number, epochAhead: number): void {
  const key = Buffer.from(client.dice.pick(HOSTILE_KEYS));
  const write = ({ control, word }: Outgoing): void => {
    writeHead(control.words, word, type, flags, 0, 0);
    control.words[word + WORD_KEY_BYTES] = key.length;
    control.words[word + WORD_READ_GRANT] = type === MESSAGE_READ ? client.dice.pick(GRANTS) : 0;
    control.bytes.set(key, 4 * (word + WORD_ASK_KEY));
  };
  client.send(member, ASK_BYTES + alignUp(key.length), 0, write, epochAhead);
}
