/** docs/protocol.md names files, mutants and messages: they exist, and none is left out. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as callMessages from '../../src/protocol/call-messages.ts';
import * as countersMessage from '../../src/protocol/counters-message.ts';
import * as messages from '../../src/protocol/messages.ts';
import * as resolveMessages from '../../src/protocol/resolve-messages.ts';
import * as rmwMessages from '../../src/protocol/rmw-messages.ts';
import * as rmwPartMessages from '../../src/protocol/rmw-part-messages.ts';
import * as scanMessages from '../../src/protocol/scan-messages.ts';

/** From dist/test/protocol/. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const text = read('docs/protocol.md');

const MUTANTS_IN = [
  'test/cluster/mutants.ts',
  'test/cluster/change-mutants.ts',
  'test/cluster/scan-mutants.ts',
  'test/cluster/scans.test.ts',
  'test/cluster/counters.test.ts',
  'test/protocol/formation-model.test.ts',
  'test/protocol/formation-copies.test.ts',
];
const mutantNames = MUTANTS_IN.flatMap((path) =>
  [...read(path).matchAll(/^ +name: (?:'([^']+)'|"([^"]+)"),$/gm)].map(([, single, double]) => single ?? double!),
);

interface Rule {
  readonly rule: string;
  readonly files: string;
  readonly guards: string;
}

/** Rows of the tables whose last column says what guards a rule. */
const rules: readonly Rule[] = text.split('\n| rule | ').flatMap((part, i) =>
  i === 0
    ? []
    : part
        .slice(0, part.indexOf('\n\n'))
        .split('\n')
        .slice(2)
        .map((line) => line.slice(2, -2).split(' | '))
        .map(([rule = '', , files = '', guards = '']) => ({ rule, files, guards })),
);
const namedMutants = rules.flatMap(({ guards }) => [...guards.matchAll(/"([^"]+)"/g)].map(([, name]) => name!));

test('should name files that exist', () => {
  const paths = [...text.matchAll(/`((?:src|net|workers|bench|test)\/[^`]*)`/g)].map(([, path]) => path!);
  assert.ok(paths.length > 50);
  assert.deepEqual(
    paths.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
});

test('should name mutants that exist, and each of them', () => {
  assert.ok(mutantNames.length > 40);
  assert.deepEqual(
    namedMutants.filter((name) => !mutantNames.includes(name)),
    [],
  );
  assert.deepEqual(
    mutantNames.filter((name) => !namedMutants.includes(name)),
    [],
  );
});

test('should say of each rule where it lives, and what guards it, or that no mutant does', () => {
  assert.ok(rules.length > 40);
  for (const { rule, files, guards } of rules) {
    assert.match(files, /^`[^`]+\.ts`/, rule);
    assert.match(guards, /"[^"]+"|no mutant: `test\/[^`]+`|in the same mutant/, rule);
  }
});

test('should list every message', () => {
  const start = text.indexOf('\n## Messages\n');
  const listed = text.slice(start, text.indexOf('\n## ', start + 1)).match(/\b[A-Z][A-Z_]+\b/g);
  const names = [
    messages,
    callMessages,
    resolveMessages,
    countersMessage,
    rmwMessages,
    rmwPartMessages,
    scanMessages,
  ].flatMap((file) =>
    Object.keys(file)
      .filter((name) => name.startsWith('MESSAGE_') && name !== 'MESSAGE_BYTES_MIN')
      .map((name) => name.slice('MESSAGE_'.length)),
  );
  assert.deepEqual(
    names.filter((name) => listed?.includes(name) !== true),
    [],
  );
});
