/** A coordinator whose replicas are the test: it sees each request and decides what is answered, by whom and when. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { DropCounters } from '../../net/drops.ts';
import { Coordinator } from '../../src/protocol/coordinator.ts';
import { MESSAGE_READ_PART, MESSAGE_STAMP, MESSAGE_WRITE, MESSAGE_WRITE_PART } from '../../src/protocol/messages.ts';
import type { EndedStamp, OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { sealValue } from '../workers/sealing-driver.ts';
import {
  bytesOf,
  incomingOf,
  memberPeer,
  MessageRecorder,
  readRequest,
  readReply,
  sessionWith,
  stampReply,
  writeReply,
} from './fixtures.ts';
import type { Message, ReadReply, Request, Stamp } from './fixtures.ts';
import type { ReadPartAsked, WritePart } from './part-fixtures.ts';
import { readPart } from './part-fixtures.ts';
import { DATA_KEY, WRITER } from './replica-harness.ts';
import { readResolve } from './resolve-fixtures.ts';
import type { Resolve } from './resolve-fixtures.ts';
import { parseRmw } from './rmw-fixtures.ts';
import type { RmwMessage } from './rmw-fixtures.ts';

export const KEY = bytesOf('a key');
export const DEADLINE_MS = 5_000;

export interface Asked extends Request {
  readonly member: number;
}

export interface AskedRmw extends RmwMessage {
  readonly member: number;
}

export interface AskedWritePart extends WritePart {
  readonly member: number;
}

export interface AskedReadPart extends ReadPartAsked {
  readonly member: number;
}

export interface Ended {
  readonly token: number;
  readonly outcome: Outcome;
  readonly value: string;
}

/** A sealed value as replicas hold it. */
export interface Copy {
  readonly stamp: Stamp;
  readonly envelope: Uint8Array;
  readonly tag: Int32Array;
}

export interface CoordinatorHarnessOptions {
  readonly memberCount?: number;
  readonly capacity?: number;
  readonly hostBytesMax?: number;
  readonly pullBytesMax?: number;
  /** Default: it may write every key. */
  readonly mayWrite?: (key: string) => boolean;
  wrapSealing?(sealing: Sealing & KeyRegistry): Sealing & KeyRegistry;
}

export class CoordinatorHarness implements OperationSink {
  readonly drops = new DropCounters();
  readonly messenger = new MessageRecorder();
  readonly memory: HostMemory;
  /** Seals what the coordinator hands to it. */
  readonly sealing: Sealing & KeyRegistry;
  /** Seals what replicas are to hold. */
  readonly elsewhere: Sealing & KeyRegistry;
  readonly coordinator: Coordinator;
  readonly ended: Ended[] = [];
  /** By operation that has ended: what the coordinator told beside that. */
  readonly told: EndedStamp[] = [];
  readonly others: number[] = [];
  /** How often the message layer was told that something to a member was lost. */
  readonly lossCounts: number[];
  readonly #members;
  readyMask: number;
  epoch = 1;
  nowMs = 10_000;
  #token = 0;
  onEnded: (() => void) | undefined;

  constructor(options: CoordinatorHarnessOptions = {}) {
    const { memberCount = 3 } = options;
    const make = () => createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.of(1, DATA_KEY) });
    this.sealing = options.wrapSealing?.(make()) ?? make();
    this.elsewhere = make();
    this.memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: options.hostBytesMax ?? 2 ** 26 });
    this.#members = Array.from({ length: memberCount }, (_, member) => sessionWith(memberPeer(member), true));
    this.lossCounts = this.#members.map(() => 0);
    this.#members.forEach(({ flight }, member) => {
      flight!.onLost = () => {
        this.lossCounts[member]! += 1;
      };
    });
    this.readyMask = (1 << memberCount) - 1;
    this.coordinator = new Coordinator({
      memberCount,
      capacity: options.capacity ?? 16,
      pullBytesMax: options.pullBytesMax ?? 2 ** 20,
      ...WRITER,
      memory: this.memory,
      messenger: this.messenger,
      sealing: this.sealing,
      drops: this.drops,
      sink: this,
      takesScans: true,
      ...(options.mayWrite !== undefined && { mayWrite: permissionOf(options.mayWrite) }),
      readyMask: () => this.readyMask,
      epoch: () => this.epoch,
      session: (member) => this.#members[member],
      onOtherMessage: (_incoming, word) => this.others.push(word),
    });
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.ended.push({ token, outcome, value: Buffer.from(value.subarray(0, valueBytes)).toString() });
    this.told.push({ ...this.coordinator.ended });
    this.onEnded?.();
  }

  get(key: Uint8Array = KEY, deadlineMs = DEADLINE_MS): number {
    return this.coordinator.startGet(this.#token++, key, deadlineMs, this.nowMs);
  }

  put(value: string, key: Uint8Array = KEY, deadlineMs = DEADLINE_MS): number {
    return this.coordinator.startPut(this.#token++, key, bytesOf(value), deadlineMs, this.nowMs);
  }

  delete(key: Uint8Array = KEY, deadlineMs = DEADLINE_MS): number {
    return this.coordinator.startDelete(this.#token++, key, deadlineMs, this.nowMs);
  }

  rmw(request: RmwRequest, key: Uint8Array = KEY, deadlineMs = DEADLINE_MS): number {
    return this.coordinator.startRmw(this.#token++, key, request, deadlineMs, this.nowMs);
  }

  /** All RESOLVEs sent since the last call, and nothing else. */
  askedResolves(): (Resolve & { readonly member: number })[] {
    return this.messenger
      .take()
      .map((message) => ({ ...readResolve(message), member: this.#members.indexOf(message.session) }));
  }

  /** All messages of read-modify-writes sent since the last call, which must be of this type; in the order of members. */
  askedRmw(type?: number): AskedRmw[] {
    const requests = this.messenger.take().map((message) => ({
      ...parseRmw(message),
      member: this.#members.indexOf(message.session),
    }));
    if (type !== undefined) {
      for (const request of requests) assert.equal(request.type, type, 'no other request is sent');
    }
    return requests.sort((a, b) => a.member - b.member);
  }

  /** A put that has got as far as its WRITE; what was sent. */
  putUntilWrite(value: string, counters: readonly number[] = [0, 0], key: Uint8Array = KEY): Asked[] {
    this.put(value, key);
    this.turn(0);
    const stamps = this.asked(MESSAGE_STAMP);
    stamps.slice(0, counters.length).forEach((request, i) => this.answer(request, stampReply(request, counters[i]!)));
    return this.asked(MESSAGE_WRITE);
  }

  /** Time passes, timers fire, the sealing works. */
  turn(ms = 1): void {
    this.nowMs += ms;
    this.coordinator.tick(this.nowMs);
    this.coordinator.submitSeals();
    this.sealing.drainValues(this.coordinator);
    this.coordinator.invariants();
  }

  run(ms: number): void {
    for (let passed = 0; passed < ms; passed++) this.turn(1);
  }

  /** All requests sent since the last call, which must be of this type; in the order of members. */
  asked(type: number): Asked[] {
    const requests = this.messenger.take().map((message) => {
      const member = this.#members.indexOf(message.session);
      assert.notEqual(member, -1);
      return { ...readRequest(message), member };
    });
    for (const request of requests) assert.equal(request.type, type, 'no other request is sent');
    return requests.sort((a, b) => a.member - b.member);
  }

  /** All WRITE_PARTs sent since the last call, and nothing else; in the order of their sending. */
  writeParts(): AskedWritePart[] {
    return this.#parts().map((part) => {
      assert.ok(part.type === MESSAGE_WRITE_PART, 'only parts are written');
      return part;
    });
  }

  /** All READ_PARTs sent since the last call, and nothing else; in the order of their sending. */
  readParts(): AskedReadPart[] {
    return this.#parts().map((part) => {
      assert.ok(part.type === MESSAGE_READ_PART, 'only parts are read');
      return part;
    });
  }

  #parts(): (AskedWritePart | AskedReadPart)[] {
    return this.messenger.take().map((message) => {
      assert.ok(message.isBulk, 'parts leave a share of the credit to others');
      return { ...readPart(message), member: this.#members.indexOf(message.session) };
    });
  }

  sessionOf(member: number): object {
    return this.#members[member]!;
  }

  /** How many more messages the member's session takes. */
  setRoom(member: number, messageCount: number): void {
    this.messenger.room.set(this.#members[member]!, messageCount);
  }

  assertNothingAsked(): void {
    assert.equal(this.messenger.take().length, 0, 'nothing is asked');
  }

  /** An answer of the member that was asked, or of another. */
  answer(request: { readonly member: number }, message: Message, member = request.member, epoch = this.epoch): void {
    this.coordinator.onMessages(incomingOf(this.#members[member]!, [message], epoch), this.nowMs);
    this.sealing.drainValues(this.coordinator);
    this.coordinator.invariants();
  }

  answerRead(request: Asked, reply: ReadReply, member = request.member): void {
    this.answer(request, readReply(request, reply), member);
  }

  answerWrites(requests: readonly Asked[], flags = 0): void {
    for (const request of requests) this.answer(request, writeReply(request, flags));
  }

  /** A value sealed by another process. */
  copyOf(value: string, stamp: Stamp, key: Uint8Array = KEY): Copy {
    const placed = sealValue(this.elsewhere, bytesOf(value), key);
    return { stamp, envelope: placed.envelope.bytes.slice(0, placed.envelopeBytes), tag: placed.tagWords };
  }

  outcomes(): Outcome[] {
    return this.ended.map(({ outcome }) => outcome);
  }

  /** Nothing is under way any more, and nothing was kept. */
  assertIdle(): void {
    assert.equal(this.coordinator.active, 0);
    assert.equal(this.coordinator.spreadCount, 0);
    assert.equal(this.memory.usedBlocks, 0);
    this.coordinator.invariants();
  }
}

function permissionOf(mayWrite: (key: string) => boolean) {
  return (words: Int32Array, keyWord: number, keyBytes: number): boolean =>
    mayWrite(Buffer.from(words.buffer, words.byteOffset + keyWord * 4, keyBytes).toString());
}

/** Which of READ's requests asks for the value. */
export function wantsValue(request: Asked): boolean {
  return (request.flags & 1) !== 0;
}

export function flip(copy: Copy, at = 33): Copy {
  const envelope = copy.envelope.slice();
  envelope[at]! ^= 1;
  return { ...copy, envelope };
}
