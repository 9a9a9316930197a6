import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { wrongInput } from '../src/cli/failure.ts';

/** Found out now rather than after minutes of load. */
export function writablePath(flag: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const absolute = resolve(path);
  const isDirectory = statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isDirectory) throw wrongInput(`${flag} ${path} is a directory: give a file`);
  try {
    accessSync(dirname(absolute), constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw wrongInput(`${flag} ${path} can't be written (${code}): give a file in a directory that you may write to`);
  }
  return absolute;
}
