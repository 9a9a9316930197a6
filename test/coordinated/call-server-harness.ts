import assert from 'node:assert/strict';
import { DropCounters } from '../../net/drops.ts';
import type { Session } from '../../net/session.ts';
import { CallServer } from '../../src/coordinated/call-server.ts';
import { MESSAGE_CALL_OPEN } from '../../src/protocol/call-messages.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../../src/protocol/call-part-messages.ts';
import { messageBytes, typeOf } from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { clientPeer, incomingOf, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';
import { ScriptedCoordinator, callOf, openOf, readOpened, readReply } from './call-fixtures.ts';
import type { CallParts, Operation, Reply } from './call-fixtures.ts';

/** A replica's side of calls, whose coordinator does what the test says. */
export class ServerHarness {
  readonly messenger = new MessageRecorder();
  readonly drops = new DropCounters();
  readonly budget: TrustedBudget;
  readonly coordinator: ScriptedCoordinator;
  readonly server: CallServer;
  nowMs = 1_000;
  hasRoom = true;

  constructor(capacity = 16, trustedBytes = 64 * 1024 * 1024) {
    this.coordinator = new ScriptedCoordinator(capacity);
    this.budget = new TrustedBudget(trustedBytes);
    this.server = new CallServer({
      messenger: this.messenger,
      drops: this.drops,
      budget: this.budget,
      coordinator: () => (this.hasRoom ? this.coordinator : undefined),
    });
    this.coordinator.sink = this.server;
  }

  /** What it sends after these messages. */
  say(session: Session<Peer>, ...messages: Message[]): Message[] {
    for (const message of messages) {
      const incoming = incomingOf(session, [message]);
      const { word } = incoming;
      const type = typeOf(message.control, 0);
      assert.ok(messageBytes(message.control, 0, message.control.length, 0) > 0, 'it is well-formed');
      if (type === MESSAGE_CALL_OPEN) this.server.onOpen(incoming, word, this.nowMs);
      else if (type === MESSAGE_CALL_PART) this.server.onPart(incoming, word, this.nowMs);
      else if (type === MESSAGE_CALL_PULL) this.server.onPull(incoming, word, this.nowMs);
      else this.server.onCall(incoming, word, this.nowMs);
      this.server.invariants();
    }
    return this.messenger.take();
  }

  /** The stream it gives; 0 for none. */
  open(session: Session<Peer>, slotCount = 4, generation = 1): number {
    const opened = readOpened(this.say(session, openOf(generation, slotCount))[0]!);
    assert.equal(opened.generation, generation);
    return opened.stream;
  }

  /** The end of a turn, so much later. */
  turn(ms: number): Message[] {
    this.nowMs += ms;
    this.server.begin(this.nowMs);
    this.server.tick(this.nowMs);
    this.server.invariants();
    return this.messenger.take();
  }

  call(session: Session<Peer>, parts: CallParts): Reply[] {
    return this.say(session, callOf(parts)).map(readReply);
  }

  end(operation: Operation, outcome: Parameters<ScriptedCoordinator['end']>[1], value?: string): Reply[] {
    this.coordinator.end(operation, outcome, value);
    this.server.invariants();
    return this.messenger.take().map(readReply);
  }
}

export function client(writerLow = 1, grants = 'rw:'): Session<Peer> {
  return sessionWith(clientPeer({ writerHigh: 0, writerLow }, grants));
}
