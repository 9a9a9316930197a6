import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostileProxy } from '../../bench/attack/hostile-proxy.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { readConfiguration, writeConfiguration } from '../../src/trust/cluster-configuration.ts';

/** A running cluster as a client sees it whose every datagram goes through this process. */
export interface ProxiedCluster {
  /** For the client: the cluster's files, with the proxies in place of the replicas. */
  readonly directory: string;
  /** By member. */
  readonly proxies: readonly HostileProxy[];
  close(): Promise<void>;
}

export async function proxyCluster(cluster: EmbeddedCluster): Promise<ProxiedCluster> {
  const proxies = await Promise.all(cluster.members.map(({ port }) => HostileProxy.open(port)));
  const directory = mkdtempSync(join(tmpdir(), 'avocado-test-'));
  cpSync(cluster.directory, directory, { recursive: true });
  redirect(
    directory,
    proxies.map(({ port }) => port),
  );
  return {
    directory,
    proxies,
    close: async () => {
      await Promise.all(proxies.map((proxy) => proxy.close()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Members' ports are signed, by the key that lies in the directory of whoever ran init. */
function redirect(directory: string, ports: readonly number[]): void {
  const configuration = readConfiguration(directory);
  const { secretKey } = JSON.parse(readFileSync(join(directory, 'cluster-key.json'), 'utf8')) as { secretKey: string };
  const members = configuration.members.map((member) => ({ ...member, port: ports[member.index]! }));
  writeConfiguration(directory, { ...configuration, members }, Uint8Array.from(Buffer.from(secretKey, 'hex')));
}
