import type { ProcessSealing } from '../../workers/process-sealing.ts';
import { openProcessSealing } from '../../workers/process-sealing.ts';
import type { WorkerSetting } from '../../workers/worker-count.ts';
import { AvocadoError } from '../errors.ts';
import type { Authority } from '../trust/authority.ts';

/** How replicas and clients are told of workers. */
export interface WorkerOptions {
  /** Threads that seal and open large values and datagrams; 0 none, 'auto' as many as fit the machine. Default: 0. */
  readonly workers?: WorkerSetting;
  /** Bytes from which on they do; default: measured when they start. */
  readonly workersFromBytes?: number;
}

/** Rejects with AvocadoError INVALID_ARGUMENT. */
export async function openSealing(
  { mode, dataKeys }: Pick<Authority, 'mode' | 'dataKeys'>,
  options: WorkerOptions,
): Promise<ProcessSealing> {
  const { workers = 0, workersFromBytes } = options;
  try {
    return await openProcessSealing({
      mode,
      dataKeys,
      workers,
      ...(workersFromBytes !== undefined && { workersFromBytes }),
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AvocadoError('INVALID_ARGUMENT', `${reason}: give fewer, or --workers 0`, { cause: error });
  }
}
