import { Calls } from '../../src/client/calls.ts';
import { Client } from '../../src/client/client.ts';
import { openEngineFor } from '../../src/client/engine.ts';
import type { Engine } from '../../src/client/operations.ts';
import type { Route } from '../../src/client/route.ts';
import type { Authority } from '../../src/trust/authority.ts';

/** A client as connect() makes it, with its engine, whose counters are no part of the public library. */
export interface AttackClient {
  readonly client: Client;
  readonly engine: Engine;
}

export interface AttackClientOptions {
  readonly connectTimeoutMs?: number;
  readonly datagramBytes?: number;
  readonly route?: Route;
}

const QUEUE_LIMIT = 1_024;
/** A busy machine may answer slowly; whoever waits for a failure gives less. */
const DEADLINE_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** @param authority Who it says it is, and where it takes the members to be. */
export async function openAttackClient(authority: Authority, options: AttackClientOptions = {}): Promise<AttackClient> {
  const calls = new Calls();
  const engine = await openEngineFor(authority, { sink: calls, connectTimeoutMs: CONNECT_TIMEOUT_MS, ...options });
  calls.attach(engine, QUEUE_LIMIT);
  return { client: new Client(engine, calls, DEADLINE_MS), engine };
}
