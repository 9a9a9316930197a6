/**
 * Runs the built test files with node's runner: `npm test`, or `npm test -- store udp` for the files whose path contains
 * one of the words. The files are listed here and handed over one by one, because globs and folders given to `node --test`
 * can find nothing and still succeed. The last line is always "N passed, N failed".
 */
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import type { TestEvent } from './tooling/tally.ts';
import { Tally } from './tooling/tally.ts';

/** Two files at once: most tests wait for processes or compute on one core, and small machines have two cores. */
const FILES_AT_ONCE = 2;
/** Node 20 bounds a file, not a test. Tests that start clusters take some ten seconds; a busy machine several times that. */
const FILE_TIMEOUT_MS = 180_000;
/** Node's own summary counts parents as tests; the closing line counts leaves, and two counts would confuse. */
const NODE_SUMMARY = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

const projectDir = process.cwd();
const words = process.argv.slice(2);

/** What node's runner reports, as far as it is looked at here; its own types leave the stream untyped. */
type RunnerEvent =
  | { type: 'test:pass' | 'test:fail'; data: TestEvent }
  | { type: 'test:dequeue'; data: { name: string; file?: string; line?: number } }
  | { type: 'test:diagnostic'; data: { message: string } };

function findTestFiles(): string[] {
  const builtDir = join(projectDir, 'dist', 'test');
  if (!existsSync(builtDir)) return [];
  return readdirSync(builtDir, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.js'))
    .filter(hasSource)
    .filter((path) => words.length === 0 || words.some((word) => `test/${path.split(sep).join('/')}`.includes(word)))
    .map((path) => join(builtDir, path))
    .sort();
}

/** The compiler leaves the output of removed sources behind; such a test must not run any more. */
function hasSource(builtPath: string): boolean {
  return existsSync(join(projectDir, 'test', builtPath.replace(/\.js$/, '.ts')));
}

async function runFiles(files: string[]): Promise<Tally> {
  // By environment rather than argument, so that the processes that tests start map their stack traces too.
  process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --enable-source-maps`.trim();
  const tally = new Tally();
  const running = new Set<string>();
  const events: AsyncIterable<RunnerEvent> = run({ files, concurrency: FILES_AT_ONCE, timeout: FILE_TIMEOUT_MS });
  const report = new spec();
  report.pipe(process.stdout, { end: false });
  for await (const event of events) {
    if (event.type === 'test:dequeue' && !files.includes(event.data.name)) running.add(testId(event.data));
    if (event.type === 'test:pass' || event.type === 'test:fail') running.delete(testId(event.data));
    if (event.type === 'test:pass') tally.pass(event.data);
    if (event.type === 'test:fail') tally.fail(event.data);
    if (event.type === 'test:diagnostic' && NODE_SUMMARY.test(event.data.message)) continue;
    report.write(event);
  }
  await new Promise<void>((resolve) => {
    report.once('end', resolve);
    report.end();
  });
  for (const file of tally.filesWithoutTests) console.log(`${relative(projectDir, file)} has no tests`);
  for (const test of running) console.log(`never ended: ${test}`);
  return tally;
}

function testId(test: { name: string; file?: string; line?: number }): string {
  return `${test.name} (${relative(projectDir, test.file ?? '')}:${test.line ?? 0})`;
}

const files = findTestFiles();
if (files.length === 0) {
  const wanted = words.length > 0 ? ` with ${words.map((word) => `"${word}"`).join(' or ')} in the path` : '';
  console.error(`No test files${wanted} under dist/test: check the words, or build first (npm run build).`);
}
const tally = files.length > 0 ? await runFiles(files) : new Tally();
console.log(tally.closingLine());
process.exitCode = tally.ok ? 0 : 1;
