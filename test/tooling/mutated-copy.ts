import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A copy of the built files in which a rule is left out on purpose, so that tests can show that they notice. */
export interface Substitution {
  /** Below dist/. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
}

const builtDir = fileURLToPath(new URL('../../', import.meta.url));

/** @param parts Folders of dist/ that are needed there. */
export async function withMutatedCopy<T>(
  parts: readonly string[],
  substitutions: readonly Substitution[],
  use: (distDir: string) => Promise<T>,
): Promise<T> {
  const copyDir = mkdtempSync(join(tmpdir(), 'avocado-mutant-'));
  const distDir = join(copyDir, 'dist');
  try {
    for (const part of parts) {
      const filter = (path: string): boolean => !/\.(map|d\.ts)$|\.test\.js$/.test(path);
      cpSync(join(builtDir, part), join(distDir, part), { recursive: true, filter });
    }
    cpSync(join(builtDir, '../package.json'), join(copyDir, 'package.json'));
    symlinkSync(join(builtDir, '../node_modules'), join(copyDir, 'node_modules'));
    for (const substitution of substitutions) substitute(distDir, substitution);
    return await use(distDir);
  } finally {
    rmSync(copyDir, { recursive: true, force: true });
  }
}

function substitute(distDir: string, substitution: Substitution): void {
  const path = join(distDir, substitution.file);
  writeFileSync(path, substituted(readFileSync(path, 'utf8'), substitution));
}

export function substituted(source: string, { file, find, replace }: Substitution): string {
  const count = source.split(find).length - 1;
  assert.equal(count, 1, `${file} has ${JSON.stringify(find)} once: the mutant must follow the code`);
  return source.replace(find, () => replace);
}
