import { fileURLToPath } from 'node:url';
import { measure } from './measure.ts';
import type { Measurement } from './measure.ts';

/** The build that this process runs, from the files as they are now; 0.4 s. */
export function measureOwnBuild(): Measurement {
  return measure({
    packageRoot: fileURLToPath(new URL('../../../..', import.meta.url)),
    nodePath: process.execPath,
  });
}
