import { DropCounters } from '../../net/drops.ts';
import { ResolveServer } from '../../src/coordinated/resolve-server.ts';
import { FLAG_ASK, sendCounters } from '../../src/protocol/counters-message.ts';
import { ScriptedCoordinator } from '../coordinated/call-fixtures.ts';
import { clientPeer, incomingOf, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';
import type { Message } from '../protocol/fixtures.ts';
import { operationWith } from '../protocol/operation-fixture.ts';
import { WRITER } from '../protocol/replica-harness.ts';
import { bytesOf } from '../workers/sealing-driver.ts';

/** RESOLVE, its answers, and what replicas tell each other of counters, for golden packets. */
const KEY = bytesOf('greeting');
const STAMP = { counter: 2 ** 33 + 7, ...WRITER, rmw: 1 };
const CEILING = 2 ** 33 + 2 ** 20;

/** Of a client that may not write; and, though it comes from a replica only, COUNTERS. */
export function resolveRequests(): Message[] {
  const { slot, messenger, requests } = operationWith(KEY, new Uint8Array(8), new Int32Array(4), STAMP);
  const session = sessionWith(clientPeer(WRITER));
  requests.resolve(session, slot);
  sendCounters(messenger, session, FLAG_ASK, STAMP.counter, CEILING);
  return messenger.take();
}

/** Done, busy, and the counters of the one that was asked. */
export function resolveAnswers(): Message[] {
  const messenger = new MessageRecorder();
  const coordinator = new ScriptedCoordinator();
  const server = new ResolveServer({
    messenger,
    drops: new DropCounters(),
    firstToken: 0,
    coordinator: () => coordinator,
  });
  coordinator.sink = server;
  const session = sessionWith(clientPeer(WRITER));
  for (const outcome of ['ok', 'deadline'] as const) {
    const incoming = incomingOf(session, resolveRequests().slice(0, 1));
    server.onResolve(incoming, incoming.word, 0);
    coordinator.end(coordinator.started.at(-1)!, outcome, undefined, STAMP);
  }
  sendCounters(messenger, session, 0, STAMP.counter, CEILING);
  return messenger.take();
}
