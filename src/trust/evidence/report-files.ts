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
  makeDirectory: async (path) => void (await mkdir(path)),
  removeDirectory: (path) => rmdir(path),
  read: async (path) => new Uint8Array(await readFile(path)),
  write: async (path, bytes) => {
    const file = await open(path, 'r+').catch((error: unknown) => {
      // Some of them can't be read.
      if (codeOf(error) === 'EACCES') return open(path, 'w');
      throw error;
    });
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
