import { DropCounters } from '../../net/drops.ts';
import { Link } from '../../net/handshakes.ts';
import { add, deleteIf, setIf, setTo } from '../../src/client/read-modify-write.ts';
import { versionOf } from '../../src/client/version.ts';
import { CallClient } from '../../src/coordinated/call-client.ts';
import { CallServer } from '../../src/coordinated/call-server.ts';
import { MESSAGE_CALL_OPEN, MESSAGE_CALL_OPENED } from '../../src/protocol/call-messages.ts';
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

/** Both sides' messages, CALL_OPEN and CALL_OPENED first. */
function exchange(): { calls: Message[]; answers: Message[] } {
  const fromServer = new MessageRecorder();
  const coordinator = new ScriptedCoordinator();
  const server = new CallServer({
    messenger: fromServer,
    drops: new DropCounters(),
    budget: new TrustedBudget(),
    coordinator: () => coordinator,
  });
  coordinator.sink = server;
  const fromClient = new MessageRecorder();
  const link = new Link<Peer>('h', 0, new Uint8Array(32));
  const session = sessionWith(memberPeer(0), true);
  link.session = session;
  const client = new CallClient({
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
  client.onSessionLive(session);
  client.tick(START_MS);
  const opens = fromClient.take().filter(({ control }) => typeOf(control, 0) === MESSAGE_CALL_OPEN);
  const ofClient = sessionWith(clientPeer(WRITER));
  const tell = (message: Message): void => {
    const incoming = incomingOf(ofClient, [message]);
    if (typeOf(message.control, 0) === MESSAGE_CALL_OPEN) server.onOpen(incoming, incoming.word, START_MS);
    else server.onCall(incoming, incoming.word, START_MS);
  };
  for (const open of opens) tell(open);
  const opened = fromServer.take().filter(({ control }) => typeOf(control, 0) === MESSAGE_CALL_OPENED);
  client.onMessages(incomingOf(session, opened), START_MS);
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
  const calls = fromClient.take();
  for (const call of calls) tell(call);
  for (const [i, [outcome, value]] of ENDINGS.entries())
    coordinator.end(coordinator.started[i]!, outcome, value, STAMP);
  return { calls: [...opens, ...calls], answers: [...opened, ...fromServer.take()] };
}

export function callMessages(): Message[] {
  return exchange().calls;
}

export function callAnswers(): Message[] {
  return exchange().answers;
}
