import type { Attempt, RecordedClient } from './recorded-client.ts';
import type { ClusterOptions } from './simulated-cluster.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/** Steps of scripted tests; each runs the simulation until it is done. */
export function formed(options: ClusterOptions): SimulatedCluster {
  const cluster = new SimulatedCluster(options);
  cluster.form();
  return cluster;
}

export function connected(cluster: SimulatedCluster): RecordedClient {
  const client = cluster.addClient();
  cluster.connect(client);
  return client;
}

export function get(cluster: SimulatedCluster, client: RecordedClient, key: string, deadlineMs = 1_000): Attempt {
  const attempt = client.get(key, deadlineMs);
  cluster.finish();
  return attempt;
}

export function put(
  cluster: SimulatedCluster,
  client: RecordedClient,
  key: string,
  value: string,
  deadlineMs = 1_000,
): Attempt {
  const attempt = client.put(key, value, deadlineMs);
  cluster.finish();
  return attempt;
}
