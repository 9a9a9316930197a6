import { rmSync } from 'node:fs';
import { AvocadoError } from '../errors.ts';
import type { MemberState } from '../protocol/state-message.ts';
import type { ChainAccess } from '../trust/chain/chain-access.ts';
import type { WorkerOptions } from './open-sealing.ts';
import { runReplica } from './replica-server.ts';

/**
 * The main of a replica that runs as a child of `avocado dev`, the bench or a test. It takes its options as JSON in
 * the first argument, reports to its parent over the IPC channel, and ends when told to or when the parent is gone.
 */
export interface ChildOptions extends WorkerOptions {
  readonly clusterDirectory: string;
  readonly chain?: ChainAccess;
  readonly index: number;
  readonly trustedBytesMax?: number;
  readonly hostBytesMax?: number;
  readonly scans?: boolean;
  readonly resealsPerSecond?: number;
  readonly datagramBytes?: number;
  readonly receiveBufferBytes?: number;
  readonly bindPort?: number;
  readonly allowPlaintext: boolean;
  /** The cluster directory is temporary: when the parent could not remove it, the children do. */
  readonly removeDirectoryWhenOrphaned: boolean;
}

export type ChildReport =
  | { readonly type: 'state'; readonly state: MemberState | 'joining'; readonly reason: string }
  | { readonly type: 'error'; readonly code?: string; readonly message: string };

const { removeDirectoryWhenOrphaned, ...options } = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;

// Ctrl-C and a closed terminal reach the whole process group; the parent decides what ends and when.
process.on('SIGINT', () => {});
process.on('SIGHUP', () => {});
process.on('SIGTERM', () => void end());
process.on('disconnect', endOrphaned);

const stopping = new AbortController();
const starting = runReplica({
  ...options,
  signal: stopping.signal,
  onStateChange: (state, reason) => report({ type: 'state', state, reason }),
});
starting.catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof AvocadoError)) console.error(error);
  report({ type: 'error', message, ...(error instanceof AvocadoError && { code: error.code }) }, () => process.exit(1));
});

// The parent may have gone while this file was loaded.
if (!process.connected) endOrphaned();

/** At once: nobody is left who would end a replica that is slow to close. */
function endOrphaned(): void {
  if (removeDirectoryWhenOrphaned) rmSync(options.clusterDirectory, { recursive: true, force: true });
  process.exit(0);
}

async function end(): Promise<void> {
  stopping.abort();
  try {
    await (await starting).close();
    process.exit(0);
  } catch {
    // It never started, and has said so, or can't close: there is nothing to save.
    process.exit(1);
  }
}

function report(message: ChildReport, sent: () => void = () => {}): void {
  if (process.connected) process.send?.(message, sent);
  else sent();
}
