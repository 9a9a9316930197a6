import type { SecurityMode } from '../../net/mode.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { WorkerOptions } from '../../src/server/open-sealing.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { Direction } from './faults.ts';
import { noCounts } from './faulty-channel.ts';
import type { ChannelCounters } from './faulty-channel.ts';
import { FaultyProxy } from './faulty-proxy.ts';

/**
 * An embedded cluster with a proxy in front of each replica: the cluster's files name the proxies' ports, so that
 * clients and the replicas among themselves reach each other through them only.
 */
export interface ChaosClusterOptions extends WorkerOptions {
  readonly mode: SecurityMode;
  readonly replicas: number;
  readonly datagramBytes: number | undefined;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  readonly onReplicaExit: (index: number, description: string) => void;
}

export class ChaosCluster {
  readonly cluster: EmbeddedCluster;
  /** By member. */
  readonly proxies: readonly FaultyProxy[];

  private constructor(cluster: EmbeddedCluster, proxies: readonly FaultyProxy[]) {
    this.cluster = cluster;
    this.proxies = proxies;
  }

  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { datagramBytes, workers, workersFromBytes, seed } = options;
    const proxies: FaultyProxy[] = [];
    try {
      const cluster = await startEmbeddedCluster({
        mode: options.mode,
        replicas: options.replicas,
        ...(datagramBytes !== undefined && { datagramBytes }),
        ...(workers !== undefined && { workers }),
        ...(workersFromBytes !== undefined && { workersFromBytes }),
        signal: options.signal,
        log: options.log,
        onReplicaExit: options.onReplicaExit,
        forward: async (index, replicaPort) => {
          await proxies[index]?.close();
          proxies[index] = await FaultyProxy.open({ replicaPort, seed, index });
          return proxies[index].port;
        },
      });
      return new ChaosCluster(cluster, proxies);
    } catch (error) {
      await closeAll(proxies);
      throw error;
    }
  }

  /** Of all proxies, to the replicas and from them. */
  networkCounts(): Record<Direction, ChannelCounters> {
    const sums = { in: noCounts(), out: noCounts() };
    for (const { counters } of this.proxies) {
      for (const direction of ['in', 'out'] as const) {
        const sum = sums[direction];
        for (const name of Object.keys(sum) as (keyof ChannelCounters)[]) sum[name] += counters[direction][name];
      }
    }
    return sums;
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await closeAll(this.proxies);
  }
}

async function closeAll(proxies: readonly FaultyProxy[]): Promise<void> {
  await Promise.all(proxies.map((proxy) => proxy.close()));
}
