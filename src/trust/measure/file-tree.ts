import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { AvocadoError } from '../../errors.ts';

/** SHA-384, hex: as long as what SNP and TDX measure with. */
export interface FileHash {
  /** Relative to the tree, with forward slashes. */
  readonly path: string;
  readonly hash: string;
}

const CHUNK_BYTES = 1024 * 1024;

/** @throws AvocadoError INVALID_ARGUMENT when it can't be read. */
export function hashFile(path: string): string {
  const hash = createHash('sha384');
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  try {
    const file = openSync(path, 'r');
    try {
      for (;;) {
        const byteCount = readSync(file, chunk);
        if (byteCount === 0) return hash.digest('hex');
        hash.update(chunk.subarray(0, byteCount));
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw unmeasurable(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
}

/**
 * Every file of a directory, sorted by path; names of the first level that are left out are given. A link may lead to what
 * isn't measured and can change, so a tree with one is refused.
 */
export function hashTree(directory: string, isLeftOut: (name: string) => boolean): FileHash[] {
  const files: FileHash[] = [];
  const walk = (prefix: string): void => {
    for (const entry of readDirectory(join(directory, prefix))) {
      const path = `${prefix}${entry.name}`;
      if (prefix === '' && isLeftOut(entry.name)) continue;
      if (entry.isDirectory()) walk(`${path}/`);
      else if (entry.isFile()) files.push({ path, hash: hashFile(join(directory, path)) });
      else
        throw unmeasurable(
          `${join(directory, path)} is a link or no file, and can't be measured: replace it by a file`,
        );
    }
  };
  walk('');
  return files.sort(byPath);
}

/** One hash over names and hashes. A name can't hold a line's end or a zero and be another list. */
export function hashList(title: string, lines: readonly FileHash[]): string {
  const hash = createHash('sha384').update(`${title}\0${lines.length}\0`);
  for (const { path, hash: fileHash } of [...lines].sort(byPath)) hash.update(`${fileHash}\0${path}\0`);
  return hash.digest('hex');
}

/** By code units, whatever the locale; two copies of one package have one name. */
function byPath(a: FileHash, b: FileHash): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return a.hash < b.hash ? -1 : Number(a.hash > b.hash);
}

function readDirectory(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    throw unmeasurable(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
}

export function unmeasurable(problem: string, cause?: unknown): AvocadoError {
  return new AvocadoError(
    'INVALID_ARGUMENT',
    `this build can't be measured: ${problem}`,
    cause === undefined ? undefined : { cause },
  );
}
