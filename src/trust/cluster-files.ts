import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import { hexOf } from './hex.ts';
import { DEFAULT_PROFILE } from './profile-name.ts';

/**
 * Reading and writing the JSON files of a cluster directory. What is read is checked field by field, and everything
 * wrong with it ends in one line that names the file and says what to do.
 */
export const CLUSTER_FILE = 'cluster.json';
export const CLUSTER_KEY_FILE = 'cluster-key.json';
export const DATA_KEY_FILE = 'data-key.json';
export const CLIENT_FILE = 'client.json';

/** Of a client that has a name, and with its data keys, if it is to have any. */
export function clientFile(profile: string): string {
  return profile === DEFAULT_PROFILE ? CLIENT_FILE : `client-${profile}.json`;
}

export function replicaFile(index: number): string {
  return `replica-${index}.json`;
}

/**
 * True for names that `avocado init` writes, so that --force replaces those and nothing else. What a killed one left
 * (a leading dot, a random end) is among them.
 */
export function isClusterFileName(name: string): boolean {
  return /^(cluster|cluster-key|data-key|client|client-[a-z0-9-]{1,32}|replica-\d+)\.json$/.test(
    name.replace(/^\.(.*)\.[0-9a-f]{12}$/, '$1'),
  );
}

/** Version of all files of a directory; they are written together. */
export const FILES_FORMAT_VERSION = 1;

/** Far above what the largest cluster writes (some 2 KiB); keeps a wrong path from filling the memory. */
const FILE_BYTES_MAX = 1024 * 1024;

/** Everybody may see the members; the rest of the files hold keys. The directory itself is 0700. */
const MODE_PUBLIC = 0o644;
const MODE_SECRET = 0o600;
const MODE_OTHERS = 0o077;

export function writeClusterFile(directory: string, name: string, content: object): void {
  const path = join(directory, name);
  const temporaryPath = join(directory, `.${name}.${hexOf(randomBytes(6))}`);
  const text = `${JSON.stringify({ formatVersion: FILES_FORMAT_VERSION, ...content }, null, 2)}\n`;
  const file = openSync(temporaryPath, 'wx', name === CLUSTER_FILE ? MODE_PUBLIC : MODE_SECRET);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
    renameSync(temporaryPath, path);
  } catch (error) {
    rmSync(temporaryPath, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** @param advice What to do when there is no such file; completes "… is missing: ". */
export function readClusterFile(directory: string, name: string, advice: string): FileFields {
  const path = join(directory, name);
  const text = readText(path, name !== CLUSTER_FILE, advice);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw fileError(path, 'is not JSON: restore it from a copy, or make the cluster anew with avocado init --force');
  }
  const fields = new FileFields(path, '', content);
  const version = fields.integer('formatVersion', 0, Number.MAX_SAFE_INTEGER);
  if (version !== FILES_FORMAT_VERSION) {
    throw fileError(
      path,
      `has format version ${version}, this avocado reads ${FILES_FORMAT_VERSION}: use the version that wrote it`,
    );
  }
  return fields;
}

function readText(path: string, secret: boolean, advice: string): string {
  let file: number;
  try {
    // Non-blocking, so that a pipe in the file's place is refused below instead of waited for.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw fileError(path, `is missing: ${advice}`, error);
    throw fileError(path, `can't be read (${code}): run as its owner, or give the right directory`, error);
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw fileError(path, 'is no file: give the directory that avocado init wrote');
    if (stat.size > FILE_BYTES_MAX) throw fileError(path, `has ${stat.size} bytes and can't be a cluster file`);
    if (secret) checkOwnership(path, stat.mode, stat.uid);
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** Windows has no such modes; there process.geteuid is missing. */
export function checkOwnership(path: string, mode: number, uid: number): void {
  const ownUid = process.geteuid?.();
  if (ownUid === undefined) return;
  if ((mode & MODE_OTHERS) !== 0) {
    const octal = (mode & 0o777).toString(8);
    throw fileError(path, `holds keys and others may read or change it (mode ${octal}): chmod 600 ${path}`);
  }
  if (ownUid !== 0 && uid !== ownUid && uid !== 0) {
    throw fileError(path, `holds keys and belongs to user ${uid}: chown it to user ${ownUid}`);
  }
}

export function fileError(path: string, problem: string, cause?: unknown): AvocadoError {
  return new AvocadoError('CLUSTER_FILES', `${path} ${problem}`, cause === undefined ? undefined : { cause });
}

/** The fields of a JSON object, each checked when it is asked for. */
export class FileFields {
  readonly path: string;
  readonly #prefix: string;
  readonly #object: Readonly<Record<string, unknown>>;

  constructor(path: string, prefix: string, value: unknown) {
    this.path = path;
    this.#prefix = prefix;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.wrong(prefix === '' ? 'the whole' : prefix.slice(0, -1), 'must be an object');
    }
    this.#object = value as Record<string, unknown>;
  }

  string(name: string): string {
    const value = this.#object[name];
    if (typeof value !== 'string') throw this.wrong(name, 'must be a string');
    return value;
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#object[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw this.wrong(name, `must be a whole number from ${min} to ${max}`);
    }
    return value;
  }

  hex(name: string, byteCount: number, byteCountMax = byteCount): Uint8Array {
    const value = this.#object[name];
    const isHex = typeof value === 'string' && value.length % 2 === 0 && /^[0-9a-f]*$/.test(value);
    if (!isHex || value.length < 2 * byteCount || value.length > 2 * byteCountMax) {
      const range = byteCount === byteCountMax ? `${byteCount}` : `${byteCount} to ${byteCountMax}`;
      throw this.wrong(name, `must be ${range} bytes in hexadecimal`);
    }
    return Uint8Array.from(Buffer.from(value, 'hex'));
  }

  objects(name: string): FileFields[] {
    const value = this.#object[name];
    if (!Array.isArray(value)) throw this.wrong(name, 'must be a list');
    return value.map((item: unknown, i) => new FileFields(this.path, `${this.#prefix}${name}[${i}].`, item));
  }

  wrong(name: string, rule: string): AvocadoError {
    const advice = 'restore it from a copy, or make the cluster anew with avocado init --force';
    return fileError(this.path, `is damaged, ${this.#prefix}${name} ${rule}: ${advice}`);
  }
}
