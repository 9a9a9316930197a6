import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { alignUp, allocateRegion, copyWords, readU53, writeU53 } from '../../net/bytes.ts';
import type { Region } from '../../net/bytes.ts';
import { DropCounters } from '../../net/drops.ts';
import { Session } from '../../net/session.ts';
import { Coordinator } from '../../src/protocol/coordinator.ts';
import {
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  MESSAGE_READ,
  MESSAGE_READ_REPLY,
  MESSAGE_WRITE,
  MESSAGE_WRITE_REPLY,
  READ_REPLY_BYTES,
  READ_REPLY_VALUE_BYTES,
  WORD_ENVELOPE_BYTES,
  WORD_REPLY_COUNTER,
  WORD_REPLY_ENVELOPE_BYTES,
  WORD_REPLY_TAG,
  WORD_WRITE_COUNTER,
  WORD_WRITE_TAG,
  WRITE_REPLY_BYTES,
  flagsOf,
  slotOf,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { Permissions } from '../../src/trust/permissions.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';

/**
 * Three members without a network: what the coordinator asks is listed, and the test answers it in the order that it
 * wants. One key; values are in clear, but have the tags that the test gives them.
 */
export interface Copy {
  readonly counter: number;
  readonly tag: number;
  readonly value: string;
}

/** A request that has not been answered. */
export interface Request {
  readonly member: number;
  readonly control: Region;
  readonly packet: Region;
}

const MEMBERS = 3;
const DATAGRAM_BYTES = 4_096;
const EPOCH = 1;
const REPLY_WORDS = 64;
const VALUE_WORD = 32;

export class ScriptedMembers {
  readonly copies: (Copy | undefined)[] = [undefined, undefined, undefined];
  readonly coordinator: Coordinator;
  readonly drops = new DropCounters();
  /** Asked and not answered, the oldest first. */
  requests: Request[] = [];
  ended: { outcome: Outcome; value: string } | undefined;
  nowMs = 0;
  readonly #sealing = createInlineSealing({ mode: 'plaintext', dataKeys: DataKeyRing.empty() });
  readonly #sessions = Array.from({ length: MEMBERS }, (_, member) => sessionWith(member));

  constructor() {
    const out = {
      control: allocateRegion(DATAGRAM_BYTES),
      word: 0,
      packet: allocateRegion(DATAGRAM_BYTES),
      valueWord: 0,
    };
    this.coordinator = new Coordinator({
      memberCount: MEMBERS,
      capacity: 4,
      pullBytesMax: DATAGRAM_BYTES,
      writerHigh: 1,
      writerLow: 1,
      memory: new HostMemory({ budget: new TrustedBudget(2 ** 30), hostBytesMax: 2 ** 24 }),
      messenger: {
        out,
        fits: () => true,
        hasRoom: () => true,
        hasSlots: () => true,
        valueBytesMax: () => DATAGRAM_BYTES,
        append: (session) => {
          out.control = allocateRegion(DATAGRAM_BYTES);
          out.packet = allocateRegion(DATAGRAM_BYTES);
          this.requests.push({ member: session.peer.identity.memberIndex, control: out.control, packet: out.packet });
          return true;
        },
      },
      sealing: this.#sealing,
      drops: this.drops,
      sink: {
        onOperationEnded: (_token, outcome, value, valueBytes) => {
          this.ended = { outcome, value: Buffer.from(value.subarray(0, valueBytes)).toString() };
        },
      },
      readyMask: () => 2 ** MEMBERS - 1,
      epoch: () => EPOCH,
      session: (member) => this.#sessions[member],
      onOtherMessage: () => {},
    });
  }

  /** Lets time pass: timers fire. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.coordinator.tick(this.nowMs);
  }

  /** Takes what these members were asked off the list. */
  take(members: readonly number[]): Request[] {
    const taken = this.requests.filter((request) => members.includes(request.member));
    this.requests = this.requests.filter((request) => !members.includes(request.member));
    return taken;
  }

  /** Each answers with the copy that it has now. */
  answer(requests: readonly Request[]): void {
    for (const request of requests) this.#answer(request);
    this.#sealing.drainValues(this.coordinator);
  }

  #answer({ member, control, packet }: Request): void {
    const { words } = control;
    const reply = allocateRegion(REPLY_WORDS * 4);
    let controlBytes: number;
    let valueBytes = 0;
    if (typeOf(words, 0) === MESSAGE_READ) {
      const copy = this.copies[member];
      const withValue = copy !== undefined && (flagsOf(words, 0) & FLAG_VALUE) !== 0;
      const flags = copy === undefined ? FLAG_TOMBSTONE : withValue ? FLAG_VALUE : 0;
      writeHead(reply.words, 0, MESSAGE_READ_REPLY, flags, slotOf(words, 0), words[1]!);
      writeU53(reply.words, WORD_REPLY_COUNTER, copy?.counter ?? 0);
      if (withValue) {
        valueBytes = Buffer.from(copy.value).copy(reply.bytes, VALUE_WORD * 4);
        reply.words[WORD_REPLY_ENVELOPE_BYTES] = valueBytes;
        reply.words[WORD_REPLY_TAG] = copy.tag;
      }
      controlBytes = withValue ? READ_REPLY_VALUE_BYTES : READ_REPLY_BYTES;
    } else if (typeOf(words, 0) === MESSAGE_WRITE) {
      const value = Buffer.from(packet.bytes.subarray(0, words[WORD_ENVELOPE_BYTES])).toString();
      this.copies[member] = { counter: readU53(words, WORD_WRITE_COUNTER), tag: words[WORD_WRITE_TAG]!, value };
      writeHead(reply.words, 0, MESSAGE_WRITE_REPLY, 0, slotOf(words, 0), words[1]!);
      controlBytes = WRITE_REPLY_BYTES;
    } else {
      throw new Error(`a message of type ${typeOf(words, 0)} is not in the script`);
    }
    // The value part lies before the control part, as in a datagram.
    const datagram = allocateRegion(REPLY_WORDS * 8);
    const valueWords = alignUp(valueBytes) >> 2;
    copyWords(datagram.words, 0, reply.words, VALUE_WORD, valueWords);
    copyWords(datagram.words, valueWords, reply.words, 0, controlBytes >> 2);
    this.coordinator.onMessages(
      {
        session: this.#sessions[member]!,
        region: datagram,
        word: valueWords,
        wordEnd: valueWords + (controlBytes >> 2),
        valueWord: 0,
        valueWordEnd: valueWords,
        epoch: EPOCH,
        isSpent: false,
      },
      this.nowMs,
    );
  }
}

function sessionWith(memberIndex: number): Session<Peer> {
  const session = new Session<Peer>(memberIndex, 'initiating', '127.0.0.1', 1, DATAGRAM_BYTES, 0);
  const identity = { role: 'replica', memberIndex, permissions: Permissions.NONE } as const;
  const peer = {
    identity,
    writerHigh: 0,
    writerLow: 0,
    incarnation: '',
    staticKey: '',
    voucherGroup: 0,
    key: String(memberIndex),
  };
  session.establish(peer, 0, { sendKey: 0, receiveKey: 0 }, DATAGRAM_BYTES, DATAGRAM_BYTES);
  return session;
}
