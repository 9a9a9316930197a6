import { AvocadoError } from '../errors.ts';
import { readDevPointer } from './dev-pointer.ts';

/**
 * The directory of the cluster that a command talks to: the --cluster option, else AVOCADO_CLUSTER, else the running
 * `avocado dev` of this user.
 */
export function findCluster(option?: string): string {
  if (option !== undefined) return option;
  const named = process.env['AVOCADO_CLUSTER'];
  if (named !== undefined && named !== '') return named;
  const running = readDevPointer();
  if (running !== undefined) return running.directory;
  throw new AvocadoError(
    'CLUSTER_FILES',
    'no cluster given and no dev cluster is running: start one with avocado dev, or give --cluster DIR or AVOCADO_CLUSTER',
  );
}
