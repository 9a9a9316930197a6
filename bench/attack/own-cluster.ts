import type { SecurityMode } from '../../net/mode.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import type { EmbeddedCluster } from '../../src/server/embedded-cluster.ts';

export interface OwnClusterOptions {
  readonly mode: SecurityMode;
  /** Files: without CAS and LAS. */
  readonly keysFrom: 'cas' | 'files';
  readonly signal?: AbortSignal;
}

/** So that nobody waits ten seconds for the members' next look at CAS. */
const REFRESH_MS = 500;

/** A cluster to be attacked. What its replicas say is about the attacks, which are told of elsewhere. */
export function startOwnCluster({ mode, keysFrom, signal }: OwnClusterOptions): Promise<EmbeddedCluster> {
  return startEmbeddedCluster({
    mode,
    log: () => {},
    ...(signal !== undefined && { signal }),
    ...(keysFrom === 'cas' && { chain: { vendorLatencyMs: 0, refreshMs: REFRESH_MS } }),
  });
}
