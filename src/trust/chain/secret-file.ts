import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { randomBytes } from '../../../workers/signing.ts';
import { checkOwnership, fileError } from '../cluster-files.ts';
import { hexOf } from '../hex.ts';

/** Files of the chain's services that nobody else may read or change: 0600, written aside and put in place at once. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const MODE_SECRET = 0o600;

/** Undefined when there is none. @throws AvocadoError CLUSTER_FILES. */
export function readSecretFile(path: string): string | undefined {
  return readSecretBytes(path)?.toString('utf8');
}

export function readSecretBytes(path: string): Buffer | undefined {
  const file = openSecretFile(path);
  if (file === undefined) return undefined;
  try {
    const { size } = fstatSync(file);
    if (size > FILE_BYTES_MAX) throw fileError(path, `has ${size} bytes, ${FILE_BYTES_MAX} at most are read`);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/** A descriptor that the caller closes; undefined when there is no such file. @throws AvocadoError CLUSTER_FILES. */
export function openSecretFile(path: string): number | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw fileError(path, `can't be read (${code}): run as its owner`, error);
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw fileError(path, 'is no file');
    checkOwnership(path, stat.mode, stat.uid);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** A new name lies on the disk only when its directory does. */
function syncDirectory(path: string): void {
  // Windows opens no directories.
  if (process.platform === 'win32') return;
  const directory = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/**
 * Durable when it returns. False when it should have been new and was there.
 * @throws AvocadoError CLUSTER_FILES.
 */
export function writeSecretFile(path: string, content: string | Uint8Array, how: 'new' | 'replace'): boolean {
  const aside = `${path}.${hexOf(randomBytes(6))}`;
  try {
    const file = openSync(aside, 'wx', MODE_SECRET);
    try {
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (how === 'replace') {
      renameSync(aside, path);
    } else {
      linkSync(aside, path);
      rmSync(aside);
    }
    syncDirectory(dirname(path));
    return true;
  } catch (error) {
    rmSync(aside, { force: true });
    const code = (error as NodeJS.ErrnoException).code;
    if (how === 'new' && code === 'EEXIST') return false;
    throw fileError(path, `can't be written (${code}): give a directory that you may write to`, error);
  }
}
