import { DropCounters } from '../../net/drops.ts';
import { Link } from '../../net/link.ts';
import { CallClient } from '../../src/coordinated/call-client.ts';
import { MESSAGE_CALL } from '../../src/protocol/call-messages.ts';
import { typeOf } from '../../src/protocol/messages.ts';
import type { OperationSink, Outcome } from '../../src/protocol/outcome.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { bytesOf, incomingOf, memberPeer, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';
import { openedOf, readCall, replyOf } from './call-fixtures.ts';
import type { CallParts, Reply } from './call-fixtures.ts';

/** A CallClient whose replicas are played by the test. */
export const DEADLINE_MS = 1_000;
/** As RttEstimator waits before there is a sample. */
export const FIRST_RTO_MS = 150;

export interface Asked extends Required<CallParts> {
  readonly member: number;
}

export class ClientHarness implements OperationSink {
  readonly messenger = new MessageRecorder();
  readonly drops = new DropCounters();
  readonly links: Link<Peer>[];
  readonly client: CallClient;
  readonly ended: { token: number; outcome: Outcome; value: string }[] = [];
  readonly others: number[] = [];
  activeMask: number;
  nowMs = 10_000;
  onEnded: (() => void) | undefined;
  #token = 0;

  constructor({ memberCount = 3, capacity = 8, firstChoice = 0 } = {}) {
    this.links = Array.from({ length: memberCount }, (_, member) => new Link<Peer>('h', member, new Uint8Array(32)));
    this.activeMask = (1 << memberCount) - 1;
    this.client = new CallClient({
      capacity,
      links: this.links,
      firstChoice,
      activeMask: () => this.activeMask,
      memory: new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 26 }),
      pullBytesMax: 100_000,
      messenger: this.messenger,
      drops: this.drops,
      sink: this,
      onOtherMessage: (_incoming, word) => this.others.push(word),
    });
  }

  /** Sessions and streams with all members: member m has stream 10 + m. */
  static ready(options: ConstructorParameters<typeof ClientHarness>[0] = {}): ClientHarness {
    const harness = new ClientHarness(options);
    harness.links.forEach((_, member) => harness.connect(member));
    harness.turn(0);
    harness.links.forEach((_, member) => harness.say(member, openedOf(1, 10 + member)));
    harness.messenger.take();
    return harness;
  }

  connect(member: number, incarnation = `${member}`): void {
    const session = sessionWith(memberPeer(member, incarnation), true);
    this.links[member]!.session = session;
    this.client.onSessionLive(session);
  }

  onOperationEnded(token: number, outcome: Outcome, value: Uint8Array, valueBytes: number): void {
    this.ended.push({ token, outcome, value: Buffer.from(value.subarray(0, valueBytes)).toString() });
    this.onEnded?.();
  }

  get(key = 'key', deadlineMs = DEADLINE_MS): number {
    return this.client.startGet(this.#token++, bytesOf(key), deadlineMs, this.nowMs);
  }

  put(value = 'value', deadlineMs = DEADLINE_MS): number {
    return this.client.startPut(this.#token++, bytesOf('key'), bytesOf(value), deadlineMs, this.nowMs);
  }

  rmw(request: RmwRequest): number {
    return this.client.startRmw(this.#token++, bytesOf('key'), request, DEADLINE_MS, this.nowMs);
  }

  getWithVersion(): number {
    return this.client.startGet(this.#token++, bytesOf('key'), DEADLINE_MS, this.nowMs, true);
  }

  delete(): number {
    return this.client.startDelete(this.#token++, bytesOf('key'), DEADLINE_MS, this.nowMs);
  }

  turn(ms: number): void {
    this.nowMs += ms;
    this.client.tick(this.nowMs);
    this.client.invariants();
  }

  /** CALLs sent since the last look, a turn later. */
  asked(): Asked[] {
    return this.messenger
      .take()
      .filter(({ control }) => typeOf(control, 0) === MESSAGE_CALL)
      .map((message) => ({ ...readCall(message), member: message.session.peer.identity.memberIndex }));
  }

  say(member: number, message: Message, session = this.links[member]!.session!): void {
    this.client.onMessages(incomingOf(session, [message]), this.nowMs);
    this.client.invariants();
  }

  answer(call: Asked, outcome: Reply['outcome'], parts: Partial<Reply> = {}): void {
    const { slot, generation, stream, attempt } = call;
    this.say(call.member, replyOf({ slot, generation, stream, attempt, ...parts, outcome }));
  }

  outcomes(): Outcome[] {
    return this.ended.map(({ outcome }) => outcome);
  }
}
