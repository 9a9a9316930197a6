/**
 * Replicas and coordinators whose messages a script moves one by one: what was found by chance is kept as a script that
 * anybody can read, step by step (test/protocol/traces/). The product's own cores, with their own sealing; no datagrams.
 *
 *     put c0 key value     get c0 key     delete c0 key      an operation of a client begins
 *     incr c0 key          swap c0 key value                 ... that adds 1; that sets, and tells what was there
 *     cas c0 key expected value                              ... that sets if it finds what is expected
 *     cancel c0                                              its last operation is given up
 *     deliver c0 r1 [TEXT]                                   the oldest message on its way from c0 to r1 (that is told so)
 *     drop c0 r1 [TEXT]                                      is lost
 *     repeat c0 r1 [TEXT]                                    arrives, and stays on its way
 *     rest                                                   everything arrives until nothing is on its way
 *     pass c0 5            pass r0 5                         milliseconds pass for a client, or a replica
 *     small [152]                                            from now on datagrams hold 96 bytes of messages and value
 *     full r1                                                r1 has no room for full records any more
 *     flip r1 key                                            a bit of the value in r1's host memory
 */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import type { Session } from '../../net/session.ts';
import { DropCounters } from '../../net/drops.ts';
import { Coordinator } from '../../src/protocol/coordinator.ts';
import {
  FLAG_GONE,
  FLAG_FOLLOWED,
  FLAG_PARTS,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_REPAIR,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  WORD_PART_REPLY_BYTES,
  WORD_PART_REPLY_OFFSET,
  WORD_PROGRESS_BITMAP,
  WORD_PROGRESS_BYTES,
  WORD_READ_GRANT,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_RMW,
  WORD_REPLY_WRITER,
  WORD_STAMP_COUNTER,
  flagsOf,
  grantedCountOf,
  grantedPartBytesOf,
  typeOf,
} from '../../src/protocol/messages.ts';
import { readU53 } from '../../net/bytes.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { CONDITION_NONE, CONDITION_VALUE, RMW_INCREMENT, RMW_SET } from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { MESSAGE_PREPARE } from '../../src/protocol/rmw-messages.ts';
import { NO_RECORD } from '../../src/store/consensus-records.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { bytesOf, clientPeer, incomingOf, memberPeer, MessageRecorder, readRequest, sessionWith } from './fixtures.ts';
import type { Message } from './fixtures.ts';
import type { ReadPartAsked, WritePart } from './part-fixtures.ts';
import { readPart } from './part-fixtures.ts';
import { DATA_KEY, ReplicaHarness } from './replica-harness.ts';
import { describedRmw } from './rmw-described.ts';

const MEMBER_COUNT = 3;
const CLIENT_COUNT = 3;
const EPOCH = 1;
const DEADLINE_MS = 5_000;
/** Of WRITE_PART's 56 bytes and 40 of a value. */
const SMALL_BYTES = 96;

const NAMES = new Map([
  [MESSAGE_READ, 'READ'],
  [MESSAGE_READ_REPLY, 'READ_REPLY'],
  [MESSAGE_STAMP, 'STAMP'],
  [MESSAGE_STAMP_REPLY, 'STAMP_REPLY'],
  [MESSAGE_WRITE, 'WRITE'],
  [MESSAGE_WRITE_REPLY, 'WRITE_REPLY'],
  [MESSAGE_REPAIR, 'REPAIR'],
]);

const INCREMENT: RmwRequest = {
  change: RMW_INCREMENT,
  condition: CONDITION_NONE,
  value: new Uint8Array(0),
  expected: new Uint8Array(0),
  version: undefined,
  delta: 1n,
};

/** Of a script's incr, swap or cas. */
function requestOf(verb: string, value: string | undefined, other: string | undefined): RmwRequest {
  if (verb === 'incr') return INCREMENT;
  const set: RmwRequest = { ...INCREMENT, change: RMW_SET, value: bytesOf(other ?? value!) };
  return verb === 'swap' ? set : { ...set, condition: CONDITION_VALUE, expected: bytesOf(value!) };
}

interface Underway {
  readonly from: string;
  readonly to: string;
  readonly message: Message;
}

interface TraceClient {
  readonly coordinator: Coordinator;
  readonly messenger: MessageRecorder;
  readonly sealing: ReturnType<typeof createInlineSealing>;
  readonly members: readonly Session<Peer>[];
  readonly operations: string[];
  /** Of the operation begun last. */
  lastId: number;
  nowMs: number;
}

export class TraceWorld {
  readonly #replicas = Array.from({ length: MEMBER_COUNT }, () => new ReplicaHarness());
  readonly #clients = Array.from({ length: CLIENT_COUNT }, (_, index) => this.#client(index));
  /** By client and replica: the session as the replica has it. */
  readonly #sessions = this.#clients.map((_, index) =>
    this.#replicas.map(() => sessionWith(clientPeer({ writerHigh: 0, writerLow: index }))),
  );
  #underway: Underway[] = [];
  #said: string[] = [];

  /** Carries one line out; what became of it, a line each. */
  step(line: string): string[] {
    const [verb = '', ...words] = line.split(' ');
    this.#said = [];
    switch (verb) {
      case 'put':
      case 'get':
      case 'delete':
      case 'incr':
      case 'swap':
      case 'cas':
        this.#begin(verb, words);
        break;
      case 'cancel': {
        const client = this.#clientOf(words[0]!);
        client.coordinator.cancel(client.lastId);
        break;
      }
      case 'deliver':
        this.#arrive(this.#take(words));
        break;
      case 'repeat': {
        const underway = this.#take(words);
        this.#underway.unshift(underway);
        this.#arrive(underway);
        break;
      }
      case 'drop':
        this.#take(words);
        break;
      case 'rest':
        while (this.#underway.length > 0) {
          this.#arrive(this.#underway.shift()!);
          this.#collect();
        }
        break;
      case 'pass':
        if (words[0]!.startsWith('r')) this.#replicaOf(words[0]!).pass(Number(words[1]));
        else this.#pass(this.#clientOf(words[0]!), Number(words[1]));
        break;
      case 'small':
        for (const { messenger } of [...this.#replicas, ...this.#clients]) {
          messenger.bytesMax = Number(words[0] ?? SMALL_BYTES);
        }
        break;
      case 'full':
        this.#replicaOf(words[0]!).store.consensus.expand = () => NO_RECORD;
        break;
      case 'flip':
        this.#flip(this.#replicaOf(words[0]!), words[1]!);
        break;
      default:
        throw new Error(`no such step: ${line}`);
    }
    this.#collect();
    return this.#said;
  }

  #client(index: number): TraceClient {
    const messenger = new MessageRecorder();
    const sealing = createInlineSealing({
      mode: 'secure',
      dataKeys: DataKeyRing.of(1, DATA_KEY),
      randomBytes: (count) => new Uint8Array(count).fill(index + 1),
    });
    const members = Array.from({ length: MEMBER_COUNT }, (_, member) => sessionWith(memberPeer(member), true));
    const operations: string[] = [];
    const coordinator: Coordinator = new Coordinator({
      memberCount: MEMBER_COUNT,
      capacity: 8,
      pullBytesMax: 2 ** 20,
      writerHigh: 0,
      writerLow: index,
      memory: new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 22 }),
      messenger,
      sealing,
      drops: new DropCounters(),
      sink: {
        onOperationEnded: (token, outcome, value, valueBytes) => {
          const read = coordinator.ended.hasValue ? ` ${Buffer.from(value.subarray(0, valueBytes)).toString()}` : '';
          this.#said.push(`c${index} ${operations[token]}: ${outcome}${read}`);
        },
      },
      readyMask: () => (1 << MEMBER_COUNT) - 1,
      epoch: () => EPOCH,
      session: (member) => members[member],
      onOtherMessage: () => assert.fail('replicas send answers only'),
    });
    return { coordinator, messenger, sealing, members, operations, lastId: -1, nowMs: 1_000 };
  }

  #begin(verb: string, [name, key, value, other]: string[]): void {
    const client = this.#clientOf(name!);
    const { coordinator, nowMs } = client;
    const token = client.operations.push([verb, key, value, other].filter((word) => word !== undefined).join(' ')) - 1;
    const keyBytes = bytesOf(key!);
    client.lastId =
      verb === 'get'
        ? coordinator.startGet(token, keyBytes, DEADLINE_MS, nowMs)
        : verb === 'delete'
          ? coordinator.startDelete(token, keyBytes, DEADLINE_MS, nowMs)
          : verb === 'put'
            ? coordinator.startPut(token, keyBytes, bytesOf(value!), DEADLINE_MS, nowMs)
            : coordinator.startRmw(token, keyBytes, requestOf(verb, value, other), DEADLINE_MS, nowMs);
    this.#seal(client);
  }

  #seal({ coordinator, sealing }: TraceClient): void {
    do coordinator.submitSeals();
    while (sealing.drainValues(coordinator) > 0);
    coordinator.pump();
    coordinator.invariants();
  }

  #pass(client: TraceClient, ms: number): void {
    for (let passed = 0; passed < ms; passed++) client.coordinator.tick(++client.nowMs);
    this.#seal(client);
  }

  #take([from, to, ...words]: string[]): Underway {
    const text = words.join(' ');
    const at = this.#underway.findIndex(
      (underway) => underway.from === from && underway.to === to && described(underway.message).startsWith(text),
    );
    assert.notEqual(at, -1, `nothing of the kind is on its way from ${from} to ${to}`);
    return this.#underway.splice(at, 1)[0]!;
  }

  #arrive({ from, to, message }: Underway): void {
    if (to.startsWith('c')) {
      const client = this.#clientOf(to);
      client.coordinator.onMessages(incomingOf(client.members[Number(from[1])]!, [message], EPOCH), client.nowMs);
      this.#seal(client);
      return;
    }
    const replica = this.#replicaOf(to);
    const answers = replica.ask([message], this.#sessions[Number(from[1])]![Number(to[1])], EPOCH);
    replica.settleRepairs();
    for (const answer of answers) this.#send(to, from, answer);
  }

  /** What clients have sent is on its way. */
  #collect(): void {
    this.#clients.forEach(({ messenger, members }, index) => {
      for (const message of messenger.take()) this.#send(`c${index}`, `r${members.indexOf(message.session)}`, message);
    });
  }

  #send(from: string, to: string, message: Message): void {
    this.#underway.push({ from, to, message });
    this.#said.push(`${from} -> ${to} ${described(message)}`);
  }

  #flip({ store, hostMemory }: ReplicaHarness, key: string): void {
    const bytes = bytesOf(key);
    const words = new Int32Array(256);
    new Uint8Array(words.buffer).set(bytes);
    const entry = store.find(words, 0, bytes.length);
    const ref = store.hostRef(entry);
    hostMemory.region(ref).bytes[hostMemory.wordOffset(ref) * 4 + store.envelopeBytes(entry) - 1]! ^= 1;
  }

  #clientOf(name: string): TraceClient {
    return this.#clients[Number(name[1])]!;
  }

  #replicaOf(name: string): ReplicaHarness {
    return this.#replicas[Number(name[1])]!;
  }
}

/** Kind, key, stamp as counter@writer, and what else matters. */
function described(message: Message): string {
  const { control } = message;
  const type = typeOf(control, 0);
  if (type >= MESSAGE_PREPARE) return describedRmw(message);
  const flags = flagsOf(control, 0);
  const tombstone = (flags & FLAG_TOMBSTONE) !== 0 ? ' tombstone' : '';
  switch (type) {
    case MESSAGE_READ_REPLY: {
      const byParts = (flags & FLAG_PARTS) !== 0 ? ` parts of ${control[WORD_REPLY_ENVELOPE_BYTES]} B` : '';
      const followed = (flags & FLAG_FOLLOWED) !== 0 ? ' followed' : '';
      const value = (flags & FLAG_VALUE) !== 0 ? ' value' : `${byParts}${followed}`;
      const rmw = control[WORD_REPLY_RMW] === 0 ? '' : `+${control[WORD_REPLY_RMW]}`;
      return `READ_REPLY ${readU53(control, WORD_REPLY_COUNTER)}@${control[WORD_REPLY_WRITER]}${rmw}${value}${tombstone}`;
    }
    case MESSAGE_STAMP_REPLY:
      return `STAMP_REPLY ${readU53(control, WORD_STAMP_COUNTER)}`;
    case MESSAGE_WRITE_REPLY:
      return 'WRITE_REPLY';
    case MESSAGE_WRITE_PROGRESS: {
      const parts = Array.from({ length: control[WORD_PROGRESS_BYTES]! * 8 }, (_, part) => part).filter(
        (part) => ((control[WORD_PROGRESS_BITMAP + (part >> 5)]! >>> (part & 31)) & 1) === 1,
      );
      return `WRITE_PROGRESS ${parts.join()}`;
    }
    case MESSAGE_WRITE_PART:
    case MESSAGE_READ_PART:
      return describedPart(readPart(message));
    case MESSAGE_READ_PART_REPLY: {
      const gone = (flags & FLAG_GONE) !== 0 ? ' gone' : '';
      return `READ_PART_REPLY ${control[WORD_PART_REPLY_OFFSET]}+${control[WORD_PART_REPLY_BYTES]}${gone}`;
    }
    default: {
      const { key, stamp } = readRequest(message);
      const name = `${NAMES.get(type)} ${Buffer.from(key).toString()}`;
      if (type === MESSAGE_READ) {
        const grant = control[WORD_READ_GRANT]!;
        const granted = grant === 0 ? '' : `, ${grantedCountOf(grant)} x ${grantedPartBytesOf(grant)} B granted`;
        return (flags & FLAG_VALUE) !== 0 ? `${name} with value${granted}` : name;
      }
      if (type === MESSAGE_STAMP) return name;
      const back = (flags & FLAG_WRITE_BACK) !== 0 ? ' write-back' : '';
      return `${name} ${stamp.counter}@${stamp.writerLow}${tombstone}${back}`;
    }
  }
}

function describedPart(part: WritePart | ReadPartAsked): string {
  const stamp = `${part.stamp.counter}@${part.stamp.writerLow}`;
  if (part.type === MESSAGE_READ_PART) {
    return `READ_PART ${Buffer.from(part.key).toString()} ${stamp} ${part.byteOffset}+${part.byteCount}`;
  }
  const what = part.part === 0 ? `key ${Buffer.from(part.key).toString()}` : `${part.piece.length} B`;
  const back = (part.flags & FLAG_WRITE_BACK) !== 0 ? ' write-back' : '';
  const repair = (part.flags & FLAG_REPAIR) !== 0 ? ' repair' : '';
  return `WRITE_PART ${stamp} ${part.part} of ${part.partCount}: ${what}${back}${repair}`;
}
