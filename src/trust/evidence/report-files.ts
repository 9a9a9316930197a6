import { constants } from 'node:fs';
import { mkdir, open, readFile, rmdir } from 'node:fs/promises';

/** The few operations on the pseudo-files through which Linux and Gramine make reports; a test has its own. */
export interface ReportFiles {
  makeDirectory(path: string): Promise<void>;
  removeDirectory(path: string): Promise<void>;
  read(path: string): Promise<Uint8Array>;
  /** All of it in one write: these files take a value, not a stream. The file must exist. */
  write(path: string, bytes: Uint8Array): Promise<void>;
}

export const SYSTEM_FILES: ReportFiles = {
  makeDirectory: async (path) => {
    await mkdir(path);
  },
  removeDirectory: (path) => rmdir(path),
  read: async (path) => new Uint8Array(await readFile(path)),
  write: async (path, bytes) => {
    // Neither made nor cut: a missing file is an error, and some of these can't be read.
    const file = await open(path, constants.O_WRONLY);
    try {
      await file.write(bytes);
    } finally {
      // What is wrong with a value of configfs shows only here.
      await file.close();
    }
  },
};

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown error';
}
