import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AvocadoError } from '../errors.ts';

/**
 * The file by which other commands of the same user find the running `avocado dev`. It may lie in a directory that
 * everybody can write to, so what is read is believed only when it is this user's own and nobody else's to change.
 */
export interface DevPointer {
  readonly pid: number;
  readonly directory: string;
}

interface PointerFile extends DevPointer {
  /** Start of that process in clock ticks since boot, where /proc tells; a pid alone may have been given anew. */
  readonly startTicks: string | null;
}

const MODE_OTHERS = 0o077;

/** The user's runtime directory if there is one: it is private and emptied at logout. */
export function devPointerPath(): string {
  const directory = process.env['XDG_RUNTIME_DIR'] || tmpdir();
  return join(directory, `avocado-dev-${process.geteuid?.() ?? 'user'}.json`);
}

/** The running dev cluster, if any. What a killed one left behind is removed. */
export function readDevPointer(): DevPointer | undefined {
  const path = devPointerPath();
  const pointer = readPointerFile(path);
  if (pointer === undefined) return undefined;
  if (isRunning(pointer)) return pointer;
  removeIfUnchanged(path, pointer);
  return undefined;
}

/** Makes this process's cluster the one that is found. Returns the other one when there is one already. */
export function claimDevPointer(directory: string): DevPointer | undefined {
  const path = devPointerPath();
  const own: PointerFile = { pid: process.pid, directory, startTicks: startTicksOf(process.pid) };
  // Written aside and linked: the name appears at once with its whole content, and only if it was free.
  const aside = makeAside(path);
  try {
    const asidePath = join(aside, 'pointer');
    writeFileSync(asidePath, JSON.stringify(own), { mode: 0o600 });
    // A stale file costs one round; a second one means that somebody else was quicker.
    for (let attempt = 0; attempt < 3; attempt++) {
      const other = readDevPointer();
      if (other !== undefined) return other;
      try {
        linkSync(asidePath, path);
        return undefined;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
    throw pointerError(path, "can't be replaced");
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

function makeAside(path: string): string {
  try {
    return mkdtempSync(`${path}-`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new AvocadoError(
      'CLUSTER_FILES',
      `${path} can't be written (${code}): set XDG_RUNTIME_DIR to a directory that you may write to`,
      { cause: error },
    );
  }
}

/** To be called by the process that claimed it. */
export function releaseDevPointer(): void {
  const path = devPointerPath();
  const pointer = readPointerFile(path);
  if (pointer?.pid === process.pid) rmSync(path, { force: true });
}

function readPointerFile(path: string): PointerFile | undefined {
  let file: number;
  try {
    // No links are followed and no pipe is waited for: others may have put them here.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | (constants.O_NOFOLLOW ?? 0));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw pointerError(path, `can't be read (${code})`);
  }
  try {
    const stat = fstatSync(file);
    const ownUid = process.geteuid?.();
    if (!stat.isFile()) throw pointerError(path, 'is no file');
    if (ownUid !== undefined && stat.uid !== ownUid) throw pointerError(path, `belongs to user ${stat.uid}`);
    if (ownUid !== undefined && (stat.mode & MODE_OTHERS) !== 0) throw pointerError(path, 'is open to other users');
    const pointer = parsePointer(readFileSync(file, 'utf8'));
    if (pointer === undefined) throw pointerError(path, 'is damaged');
    return pointer;
  } finally {
    closeSync(file);
  }
}

function parsePointer(text: string): PointerFile | undefined {
  try {
    const { pid, directory, startTicks } = JSON.parse(text) as Partial<Record<keyof PointerFile, unknown>>;
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 1 || typeof directory !== 'string')
      return undefined;
    return { pid, directory, startTicks: typeof startTicks === 'string' ? startTicks : null };
  } catch {
    return undefined;
  }
}

function isRunning(pointer: PointerFile): boolean {
  try {
    process.kill(pointer.pid, 0);
  } catch {
    return false;
  }
  return pointer.startTicks === null || pointer.startTicks === startTicksOf(pointer.pid);
}

/** Field 22 of /proc/<pid>/stat (proc(5)); the name before it may hold anything, so fields count from its end. */
function startTicksOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

/** A new dev may have taken the name since it was read. */
function removeIfUnchanged(path: string, stale: PointerFile): void {
  const now = readPointerFile(path);
  if (now?.pid === stale.pid && now.startTicks === stale.startTicks) rmSync(path, { force: true });
}

function pointerError(path: string, problem: string): AvocadoError {
  return new AvocadoError(
    'CLUSTER_FILES',
    `${path}, which should name your running dev cluster, ${problem}: remove it, or give --cluster DIR`,
  );
}
