import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from '../cli/avocado-process.ts';
import type { Finished } from '../cli/avocado-process.ts';

/** Finds the examples in documentation and runs them as a user would: as a module of a project that has the package. */

/** Fenced blocks of JavaScript or TypeScript in Markdown. */
export function markdownExamples(text: string): string[] {
  return Array.from(text.matchAll(/^```(?:js|ts)\n(.*?)^```$/gms), (match) => match[1]!);
}

/** Blocks that are indented by four spaces in doc comments. */
export function docCommentExamples(source: string): string[] {
  const examples: string[] = [];
  for (const comment of source.matchAll(/^ *\/\*\*\n.*?\*\//gms)) {
    const lines = comment[0].split('\n').map((line) => line.replace(/^ *\* ?/, ''));
    const code = lines.filter((line) => line.startsWith('    ')).map((line) => line.slice(4));
    // Layouts and pictures are indented, too.
    if (code.some((line) => line.startsWith('await '))) examples.push(code.join('\n'));
  }
  return examples;
}

/** What an example says that it prints: a word or a list in the comment behind a console.log. */
export function expectedLines(example: string): (string | undefined)[] {
  return Array.from(example.matchAll(/^ *console\.log\(.*\);(?: \/\/ (.*))?$/gm), ([, comment]) =>
    comment !== undefined && /^(\S+|\[.*\])$/.test(comment) ? comment : undefined,
  );
}

const IMPORT = "import { AvocadoError, connect } from 'avocado-kv';\n";
/** Longer than any deadline in them. */
const TIMEOUT_MS = 30_000;

export async function runExample(
  example: string,
  clusterDirectory: string,
  packageDirectory: string,
): Promise<Finished> {
  const project = mkdtempSync(join(tmpdir(), 'avocado-test-'));
  try {
    mkdirSync(join(project, 'node_modules'));
    symlinkSync(packageDirectory, join(project, 'node_modules', 'avocado-kv'));
    symlinkSync(clusterDirectory, join(project, 'cluster'));
    writeFileSync(join(project, 'example.mjs'), /^import /m.test(example) ? example : IMPORT + example);
    const child = spawn(process.execPath, ['example.mjs'], {
      cwd: project,
      env: { ...process.env, AVOCADO_CLUSTER: clusterDirectory },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
    });
    return await finished(child);
  } finally {
    rmSync(project, { recursive: true });
  }
}
