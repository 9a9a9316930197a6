import { DropCounters } from '../../net/drops.ts';
import { Link } from '../../net/link.ts';
import { add, deleteIf, setIf, setTo } from '../../src/client/read-modify-write.ts';
import { versionOf } from '../../src/client/version.ts';
import { CallClient } from '../../src/coordinated/call-client.ts';
import { CallServer } from '../../src/coordinated/call-server.ts';
import { MESSAGE_CALL_OPEN, MESSAGE_CALL_OPENED } from '../../src/protocol/call-messages.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_PULL } from '../../src/protocol/call-part-messages.ts';
import { typeOf } from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { ScriptedCoordinator } from '../coordinated/call-fixtures.ts';
import { clientPeer, incomingOf, memberPeer, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';
import { WRITER } from '../protocol/replica-harness.ts';
import { bytesOf } from '../workers/sealing-driver.ts';

/** Calls of the coordinated route, one of each kind, and their answers, for golden packets. */
const KEY = bytesOf('greeting');
const VALUE = bytesOf('hello, world');
const STAMP = { counter: 7, ...WRITER, rmw: 1 };
const START_MS = 1_000;
const DEADLINE_MS = 5_000;

/** How each ends, in the order in which they are called. */
const ENDINGS = [
  ['ok', 'hello, world'],
  ['ok', undefined],
  ['trusted-memory-full', undefined],
  ['ok', 'hello, world'],
  ['ok', 'hello, world'],
  ['mismatch', 'hello, world'],
  ['ok', undefined],
  ['mismatch', undefined],
  ['ok', '42'],
] as const;

/** A client and the replica that it has a stream at. */
class Joined {
  readonly fromServer = new MessageRecorder();
  readonly fromClient = new MessageRecorder();
  readonly coordinator = new ScriptedCoordinator();
  readonly server: CallServer;
  readonly client: CallClient;
  readonly opens: Message[];
  readonly opened: Message[];
  readonly #session = sessionWith(memberPeer(0), true);
  readonly #ofClient = sessionWith(clientPeer(WRITER));

  constructor() {
    const { fromServer, fromClient, coordinator } = this;
    this.server = new CallServer({
      messenger: fromServer,
      drops: new DropCounters(),
      budget: new TrustedBudget(),
      coordinator: () => coordinator,
    });
    coordinator.sink = this.server;
    const link = new Link<Peer>('h', 0, new Uint8Array(32));
    link.session = this.#session;
    this.client = new CallClient({
      capacity: ENDINGS.length,
      links: [link],
      firstChoice: 0,
      activeMask: () => 1,
      memory: new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 26 }),
      pullBytesMax: 100_000,
      messenger: fromClient,
      drops: new DropCounters(),
      sink: { onOperationEnded: () => {} },
      onOtherMessage: () => {},
    });
    this.client.onSessionLive(this.#session);
    this.opens = this.turn().filter(({ control }) => typeOf(control, 0) === MESSAGE_CALL_OPEN);
    this.opened = this.tell(this.opens).filter(({ control }) => typeOf(control, 0) === MESSAGE_CALL_OPENED);
    this.answer(this.opened);
  }

  /** What the client sends. */
  turn(): Message[] {
    this.client.tick(START_MS);
    return this.fromClient.take();
  }

  /** What the replica says to that, at once and at the end of its turn. */
  tell(messages: readonly Message[]): Message[] {
    for (const message of messages) {
      const incoming = incomingOf(this.#ofClient, [message]);
      const { word } = incoming;
      const type = typeOf(message.control, 0);
      if (type === MESSAGE_CALL_OPEN) this.server.onOpen(incoming, word, START_MS);
      else if (type === MESSAGE_CALL_PART) this.server.onPart(incoming, word, START_MS);
      else if (type === MESSAGE_CALL_PULL) this.server.onPull(incoming, word, START_MS);
      else this.server.onCall(incoming, word, START_MS);
    }
    this.server.tick(START_MS);
    return this.fromServer.take();
  }

  answer(messages: readonly Message[]): void {
    this.client.onMessages(incomingOf(this.#session, messages), START_MS);
  }
}

/** Both sides' messages, CALL_OPEN and CALL_OPENED first. */
function exchange(): { calls: Message[]; answers: Message[] } {
  const joined = new Joined();
  const { client, coordinator, opens, opened } = joined;
  client.startGet(0, KEY, DEADLINE_MS, START_MS);
  client.startPut(1, KEY, VALUE, DEADLINE_MS, START_MS);
  client.startDelete(2, KEY, DEADLINE_MS, START_MS);
  client.startGet(3, KEY, DEADLINE_MS, START_MS, true);
  for (const [i, request] of [
    setTo(VALUE),
    setIf({ value: 'hello' }, VALUE),
    setIf({ absent: true }, VALUE),
    deleteIf({ version: versionOf(STAMP) }),
    add(-(2n ** 40n)),
  ].entries()) {
    client.startRmw(4 + i, KEY, request, DEADLINE_MS, START_MS);
  }
  const calls = joined.fromClient.take();
  joined.tell(calls);
  for (const [i, [outcome, value]] of ENDINGS.entries())
    coordinator.end(coordinator.started[i]!, outcome, value, STAMP);
  return { calls: [...opens, ...calls], answers: [...opened, ...joined.fromServer.take()] };
}

/** Of a put and a get with version, where a message has 64 bytes: parts have 32 of a call, 40 of an answer. */
const SMALL_BYTES = 64;
const LONG_VALUE = 'hello, world, and everybody who has come to see it';

function exchangeOfParts(): { calls: Message[]; answers: Message[] } {
  const joined = new Joined();
  const { client, coordinator, fromClient, fromServer } = joined;
  fromClient.bytesMax = fromServer.bytesMax = SMALL_BYTES;
  client.startPut(0, KEY, bytesOf(LONG_VALUE), DEADLINE_MS, START_MS);
  const calls = joined.turn();
  const answers = joined.tell(calls);
  client.startGet(1, KEY, DEADLINE_MS, START_MS, true);
  const gets = joined.turn();
  joined.tell(gets);
  coordinator.end(coordinator.started[1]!, 'ok', LONG_VALUE, STAMP);
  const replies = fromServer.take();
  joined.answer(replies);
  const pulls = joined.turn();
  const parts = joined.tell(pulls);
  joined.answer(parts);
  return { calls: [...calls, ...gets, ...pulls, ...joined.turn()], answers: [...answers, ...replies, ...parts] };
}

export function callMessages(): Message[] {
  return exchange().calls;
}

export function callAnswers(): Message[] {
  return exchange().answers;
}

export function callPartMessages(): Message[] {
  return exchangeOfParts().calls;
}

export function callPartAnswers(): Message[] {
  return exchangeOfParts().answers;
}
