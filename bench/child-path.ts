import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file of a child process, a neighbour of this one. The extension is this file's own (.js once built): TypeScript
 * rewrites the extensions of imports, but not of URLs.
 */
export function childPath(name: 'load-child' | 'calibration-peer'): string {
  return fileURLToPath(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url));
}
