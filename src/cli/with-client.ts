import type { Client } from '../index.ts';
import { connect } from '../index.ts';
import type { Route } from '../client/route.ts';
import { findCluster } from './find-cluster.ts';

/** What the commands for one key share: a connection for one operation, within one time limit. */
export interface ClientOptions {
  readonly cluster?: string;
  readonly timeout: number;
  readonly route: Route;
  readonly as?: string;
  readonly enrolmentKey?: string;
  readonly datagramBytes?: number;
  readonly json?: boolean;
}

/** @param operation Gets the milliseconds that connecting has left of the time limit. */
export async function withClient<T>(
  options: ClientOptions,
  operation: (client: Client, deadlineMs: number) => Promise<T>,
): Promise<T> {
  const startedMs = performance.now();
  const client = await connect({
    cluster: findCluster(options.cluster),
    route: options.route,
    ...(options.as !== undefined && { as: options.as }),
    ...(options.enrolmentKey !== undefined && { enrolmentKeyFile: options.enrolmentKey }),
    connectTimeoutMs: options.timeout,
    ...(options.datagramBytes !== undefined && { datagramBytes: options.datagramBytes }),
  });
  try {
    return await operation(client, Math.max(1, options.timeout - (performance.now() - startedMs)));
  } finally {
    await client.close();
  }
}
