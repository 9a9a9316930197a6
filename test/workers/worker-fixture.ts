/** Sealings with workers for tests: everything is handed over, unless a test wants it otherwise. */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { createDatagramCipher } from '../../workers/datagram-cipher.ts';
import { InlineSealing } from '../../workers/inline-sealing.ts';
import { KeyTable } from '../../workers/key-table.ts';
import { randomBytes } from '../../workers/sodium.ts';
import type { Threshold } from '../../workers/threshold.ts';
import { SealedValues } from '../../workers/value-cipher.ts';
import type { WorkerPool } from '../../workers/worker-pool.ts';
import { WorkerSealing } from '../../workers/worker-sealing.ts';
import { seededBytes } from './random.ts';

export const dataKeys = DataKeyRing.of(1, seededBytes(32, 1));

export const EVERYTHING: Threshold = { fromBytes: 0, associatedShare: 1, copyShare: 0 };

export interface WorkerSealingOptions {
  readonly mode?: Exclude<SecurityMode, 'plaintext'>;
  readonly threshold?: Threshold;
  readonly randomBytes?: (count: number) => Uint8Array;
  readonly keys?: KeyTable;
}

export function workerSealing(pool: WorkerPool, options: WorkerSealingOptions = {}): WorkerSealing {
  const mode = options.mode ?? 'secure';
  const keys = options.keys ?? new KeyTable();
  const values = new SealedValues(dataKeys, options.randomBytes ?? randomBytes);
  const inline = new InlineSealing(createDatagramCipher(mode), keys, values);
  return new WorkerSealing({ mode, inline, keys, values, pool, threshold: options.threshold ?? EVERYTHING });
}
