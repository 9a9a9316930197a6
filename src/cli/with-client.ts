import type { Client } from '../index.ts';
import { connect } from '../index.ts';
import { findCluster } from './find-cluster.ts';

/** What get, put and delete share: a connection for one operation, within one time limit. */
export interface ClientOptions {
  readonly cluster?: string;
  readonly timeout: number;
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
    connectTimeoutMs: options.timeout,
    ...(options.datagramBytes !== undefined && { datagramBytes: options.datagramBytes }),
  });
  try {
    return await operation(client, Math.max(1, options.timeout - (performance.now() - startedMs)));
  } finally {
    await client.close();
  }
}
