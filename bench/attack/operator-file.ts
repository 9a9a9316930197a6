import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CLUSTER_KEY_FILE } from '../../src/trust/cluster-files.ts';

/** Where a cluster of `avocado dev`, or an attack's own, has the key of its operator. */
export const OPERATOR_FILE = 'operator.json';

/** Whether a client with few rights can be made from what lies in the directory. */
export function whyNoLimitedClient(directory: string): string | undefined {
  const isThere = [OPERATOR_FILE, CLUSTER_KEY_FILE].some((name) => existsSync(join(directory, name)));
  return isThere ? undefined : 'neither an operator’s key nor the cluster key is here to make a client with few rights';
}
