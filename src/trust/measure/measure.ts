import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { installedPackages } from './dependencies.ts';
import { hashFile, hashList, hashTree } from './file-tree.ts';
import type { FileHash } from './file-tree.ts';

/**
 * One hash of what runs: the node binary, the built files, package.json, and every file of every package that they can
 * load. Names and contents count; order, times, owners and where it lies do not. Shared libraries of the system, the
 * kernel, options of node and the environment are no part of it: a machine's own measurement covers those.
 */
export interface Measurement {
  /** 48 bytes, hex. */
  readonly hash: string;
  readonly parts: readonly MeasuredPart[];
}

export interface MeasuredPart {
  /** "node", "dist", "package.json" or "name@version". */
  readonly name: string;
  readonly hash: string;
  readonly files: readonly FileHash[];
}

export interface MeasuredPlace {
  /** Where package.json and dist/ are. */
  readonly packageRoot: string;
  readonly nodePath: string;
}

/** Of the build's directory: the tests don't run in a server and aren't published; the other is the compiler's memory. */
const BUILT_LEFT_OUT: ReadonlySet<string> = new Set(['test', '.tsbuildinfo']);

/** @throws AvocadoError INVALID_ARGUMENT when something of it is missing or can't be read. */
export function measure({ packageRoot, nodePath }: MeasuredPlace): Measurement {
  const builtDirectory = join(packageRoot, 'dist');
  const parts = [
    partOfFile('node', nodePath),
    partOfFile('package.json', join(packageRoot, 'package.json')),
    partOf(
      'dist',
      hashTree(builtDirectory, (name) => BUILT_LEFT_OUT.has(name)),
    ),
    ...installedPackages(packageRoot, builtDirectory).map(({ name, version, directory, resolved }) => {
      // Packages inside are found by name and are parts of their own; which of them it gets is part of it.
      const files = hashTree(directory, (first) => first === 'node_modules');
      const edges = resolved.map((edge) => ({ path: `-> ${edge}`, hash: hashText(edge) }));
      return partOf(`${name}@${version}`, [...files, ...edges]);
    }),
  ];
  const lines = parts.map(({ name, hash }) => ({ path: name, hash }));
  return { hash: hashList('avocado measurement 1', lines), parts };
}

function partOf(name: string, files: readonly FileHash[]): MeasuredPart {
  return { name, hash: hashList(name, files), files };
}

function partOfFile(name: string, path: string): MeasuredPart {
  const hash = hashFile(path);
  return { name, hash, files: [{ path: name, hash }] };
}

function hashText(text: string): string {
  return createHash('sha384').update(text).digest('hex');
}
