import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { AvocadoError } from '../errors.ts';

/** @throws AvocadoError EVIDENCE_FILES; the file's own content is for others to judge. */
export async function readInput(path: string, bytesMax: number): Promise<Uint8Array> {
  if (path === '-') return new Uint8Array(await buffer(process.stdin));
  try {
    const { size } = statSync(path);
    if (size > bytesMax) {
      throw new AvocadoError('EVIDENCE_FILES', `${path} has ${size} bytes, ${bytesMax} at most are read`);
    }
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw asFileError(error, path, 'read');
  }
}

export function writeOutput(path: string, text: string): void {
  if (path === '-') {
    process.stdout.write(text);
    return;
  }
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw asFileError(error, path, 'written');
  }
}

function asFileError(error: unknown, path: string, verb: string): AvocadoError {
  if (error instanceof AvocadoError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new AvocadoError('EVIDENCE_FILES', `${path} can't be ${verb} (${code}): give the path of a file`, {
    cause: error,
  });
}
