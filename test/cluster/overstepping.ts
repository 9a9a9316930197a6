import assert from 'node:assert/strict';
import { alignUp } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import { CALL_OUTCOMES } from '../../src/coordinated/call-outcome.ts';
import {
  CALL_BYTES,
  CALL_DELETE,
  CALL_GET,
  CALL_GET_WITH_VERSION,
  CALL_OPEN_BYTES,
  CALL_PUT,
  MESSAGE_CALL,
  MESSAGE_CALL_OPEN,
  MESSAGE_CALL_OPENED,
  MESSAGE_CALL_REPLY,
  WORD_CALL_DEADLINE_MS,
  WORD_CALL_KEY,
  WORD_CALL_KEY_BYTES,
  WORD_CALL_OPENED_STREAM,
  WORD_CALL_SLOTS,
  WORD_CALL_STREAM,
  WORD_CALL_VALUE_BYTES,
} from '../../src/protocol/call-messages.ts';
import {
  ASK_BYTES,
  FLAG_HOST_FULL,
  FLAG_NOT_PERMITTED,
  FLAG_REPAIR,
  FLAG_TRUSTED_FULL,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STATE,
  MESSAGE_STATUS_REQUEST,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  STATUS_REQUEST_BYTES,
  WORD_ASK_KEY,
  WORD_KEY_BYTES,
  flagsOf,
  messageBytes,
  messageEnvelopeBytes,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import {
  FLAG_SCAN_VALUES,
  MESSAGE_SCAN,
  SCAN_BYTES,
  SCAN_ENTRIES_MAX,
  WORD_SCAN_ENTRIES,
} from '../../src/protocol/scan-messages.ts';
import { sendHostileChange } from './hostile-changes.ts';
import { sendPart, sendWrite } from './hostile-client.ts';
import { OddClient } from './odd-client.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';

/**
 * A client whose certificate is for keys that nobody works with. It sends every message there is about keys that are judged:
 * if one of them takes effect, a history shows it; one that is answered with more than that it is not permitted ends the run.
 */
export class Overstepper {
  readonly client: OddClient;
  /** Streams of calls, by member. */
  readonly #streams: number[] = [];
  #generation = 0;

  constructor(cluster: SimulatedCluster, port: number) {
    const onMessages = (incoming: Incoming<Peer>): void => this.#onMessages(incoming);
    this.client = new OddClient(cluster, 'client of other keys', port, { party: 'limited', onMessages });
  }

  /** One message about a key. */
  send(member: number, key: string): void {
    const { client } = this;
    if (client.dice.chance(CALL_SHARE)) this.#call(member, key);
    else client.dice.pick(TRICKS)(client, member, key);
  }

  #call(member: number, name: string): void {
    const { client } = this;
    const stream = this.#streams[member];
    this.#generation++;
    if (stream === undefined) {
      client.send(member, CALL_OPEN_BYTES, 0, ({ control, word }) => {
        writeHead(control.words, word, MESSAGE_CALL_OPEN, 0, 0, this.#generation);
        control.words[word + WORD_CALL_SLOTS] = 1;
      });
      return;
    }
    const key = Buffer.from(name);
    const kind = client.dice.pick([CALL_GET, CALL_PUT, CALL_PUT, CALL_DELETE, CALL_GET_WITH_VERSION]);
    const valueBytes = kind === CALL_PUT ? CALL_VALUE_BYTES : 0;
    client.send(member, CALL_BYTES + alignUp(key.length) + valueBytes, 0, ({ control, word }) => {
      const { words } = control;
      writeHead(words, word, MESSAGE_CALL, kind, 0, this.#generation);
      words[word + WORD_CALL_KEY_BYTES] = key.length;
      words[word + WORD_CALL_VALUE_BYTES] = valueBytes;
      words[word + WORD_CALL_STREAM] = stream;
      words[word + WORD_CALL_DEADLINE_MS] = CALL_DEADLINE_MS;
      control.bytes.set(key, 4 * (word + WORD_CALL_KEY));
    });
  }

  #onMessages({ session, region, word, wordEnd, valueWord, valueWordEnd }: Incoming<Peer>): void {
    const { words } = region;
    let valueAt = valueWord;
    for (let at = word; at < wordEnd; ) {
      const byteCount = messageBytes(words, at, wordEnd, (valueWordEnd - valueAt) * 4);
      assert.ok(byteCount > 0, 'a replica sends messages');
      const type = typeOf(words, at);
      if (type === MESSAGE_CALL_OPENED) {
        this.#streams[session.peer.identity.memberIndex] = words[at + WORD_CALL_OPENED_STREAM]!;
      }
      assert.ok(
        tellsNothing(words, at),
        `a client is told of keys outside of its grants, by a message of type ${type}`,
      );
      valueAt += alignUp(messageEnvelopeBytes(words, at)) >> 2;
      at += byteCount >> 2;
    }
  }
}

const CALL_SHARE = 0.2;
const CALL_VALUE_BYTES = 16;
const CALL_DEADLINE_MS = 1_000;

type Trick = (client: OddClient, member: number, key: string) => void;

/** As far as counters of honest writers get. */
const COUNTER_MAX = 1_000;

const TRICKS: readonly Trick[] = [
  ...[0, FLAG_WRITE_BACK].map(
    (flags): Trick =>
      (client, member, key) =>
        sendWrite(client, member, { key, counter: client.dice.integer(1, COUNTER_MAX), flags }),
  ),
  (client, member, key) => sendWrite(client, member, { key, counter: client.dice.integer(1, 3), type: MESSAGE_REPAIR }),
  (client, member, key) => {
    const { dice } = client;
    const counter = dice.integer(1, COUNTER_MAX);
    const flags = dice.pick([0, FLAG_WRITE_BACK, FLAG_REPAIR]);
    for (const part of dice.shuffled([0, 1, 2, 3])) sendPart(client, member, { key, counter, flags, part });
  },
  ...[MESSAGE_READ, MESSAGE_STAMP].map(
    (type): Trick =>
      (client, member, key) => {
        const bytes = Buffer.from(key);
        client.send(member, ASK_BYTES + alignUp(bytes.length), 0, ({ control, word }) => {
          writeHead(control.words, word, type, type === MESSAGE_READ ? FLAG_VALUE : 0, 0, 0);
          control.words[word + WORD_KEY_BYTES] = bytes.length;
          control.bytes.set(bytes, 4 * (word + WORD_ASK_KEY));
        });
      },
  ),
  (client, member) =>
    client.send(member, SCAN_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_SCAN, FLAG_SCAN_VALUES, 0, 0);
      control.words[word + WORD_SCAN_ENTRIES] = SCAN_ENTRIES_MAX;
    }),
  sendHostileChange,
  sendHostileChange,
  sendHostileChange,
  (client, member) =>
    client.send(member, STATUS_REQUEST_BYTES, 0, ({ control, word }) => {
      writeHead(control.words, word, MESSAGE_STATUS_REQUEST, 0, 0, 0);
    }),
];

/** Of no key: who is who, streams of calls, parts that have no key. */
const OF_NO_KEY: ReadonlySet<number> = new Set([MESSAGE_STATE, MESSAGE_CALL_OPENED, MESSAGE_WRITE_PROGRESS]);

function tellsNothing(words: Int32Array, word: number): boolean {
  const type = typeOf(words, word);
  const flags = flagsOf(words, word);
  // Its flags are an outcome.
  if (type === MESSAGE_CALL_REPLY) return ['not-permitted', 'stream-unknown'].includes(CALL_OUTCOMES[flags]!);
  // To a part without a key.
  if (type === MESSAGE_WRITE_REPLY && (flags & (FLAG_TRUSTED_FULL | FLAG_HOST_FULL)) !== 0) return true;
  return (flags & FLAG_NOT_PERMITTED) !== 0 || OF_NO_KEY.has(type);
}
