import { Calls } from '../../src/client/calls.ts';
import { Client } from '../../src/client/client.ts';
import { openEngine } from '../../src/client/engine.ts';
import type { Engine } from '../../src/client/operations.ts';

/** A client as connect() makes it, with its engine, whose counters and status are no part of the public library. */
export interface OpenClient {
  readonly client: Client;
  readonly engine: Engine;
}

const QUEUE_LIMIT = 65_536;
const DEADLINE_MS = 10_000;

export async function openClient(clusterDirectory: string): Promise<OpenClient> {
  const calls = new Calls();
  const engine = await openEngine({ clusterDirectory, sink: calls });
  calls.attach(engine, QUEUE_LIMIT);
  return { client: new Client(engine, calls, DEADLINE_MS), engine };
}
