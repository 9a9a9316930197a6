/** Scans of a simulated cluster in scripted situations, and mutants that random runs seldom catch. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { withMutatedCopy } from '../tooling/mutated-copy.ts';
import {
  deleteHasReachedOne,
  oneReachesFurther,
  problemOf,
  putHasReachedOne,
  scan,
  twoWritersHaveOneCounter,
} from './scan-scenarios.ts';
import { connected, formed, put } from './steps.ts';

test('what a scan does not find any more, or finds, is not found otherwise later', () => {
  assert.equal(problemOf(deleteHasReachedOne), undefined);
  assert.equal(problemOf(twoWritersHaveOneCounter), undefined);
  assert.equal(problemOf(putHasReachedOne), undefined);
  assert.equal(problemOf(oneReachesFurther), undefined);
});

const PARTS = ['net', 'workers', 'src', 'bench/checker', 'test/cluster', 'test/workers'];
const ANSWERS = 'src/protocol/scan-answers.js';
const MERGE = 'src/protocol/scan-merge.js';

for (const { name, substitutions } of [
  {
    name: 'deleted keys are left out of answers to a scan',
    substitutions: [
      {
        file: ANSWERS,
        find: 'return this.#isReverse ? view.previous(at) : view.next(at);',
        replace:
          'do at = this.#isReverse ? view.previous(at) : view.next(at);\n' +
          '        while (at !== NO_POSITION && this.#store.isTombstone(view.entryAt(at)));\n' +
          '        return at;',
      },
      {
        file: ANSWERS,
        find: 'const first = this.#first(view);',
        replace:
          'let first = this.#first(view);\n' +
          '        if (first !== NO_POSITION && this.#store.isTombstone(view.entryAt(first))) first = this.#step(view, first);',
      },
    ],
  },
  {
    name: 'the page is cut at the largest last key of the answers',
    substitutions: [{ file: MERGE, find: 'this.#order(last, cut) < 0', replace: 'this.#order(last, cut) > 0' }],
  },
  {
    name: 'a key that is missing at a member is no opinion of it',
    substitutions: [
      {
        file: MERGE,
        find: 'isSame &&= hasNoStamp(holder);',
        replace: ';',
      },
    ],
  },
  {
    name: 'stamps of a scan are compared by their counters only',
    substitutions: ['WRITER', 'WRITER + 1'].map((word) => ({
      file: MERGE,
      find: `wordsA[a.word + WORD_ENTRY_${word}] === wordsB[b.word + WORD_ENTRY_${word}] &&`,
      replace: '',
    })),
  },
]) {
  test(`mutant caught: ${name}`, async (context) => {
    const failure = await withMutatedCopy(PARTS, substitutions, async (distDir) => {
      const program = join(distDir, 'test/cluster/run-scan-scenarios.js');
      const { stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 60_000 });
      return stdout.trim();
    });
    assert.match(failure, /no order of its operations fits/);
    context.diagnostic(failure);
  });
}

test('a thousand keys come in order, page by page, either way, and the work is that of the pages', () => {
  const cluster = formed({ seed: 1 });
  const client = connected(cluster);
  const keys = Array.from({ length: 1_000 }, (_, i) => `key-${String(i).padStart(4, '0')}`);
  for (let i = 0; i < keys.length; i += 50) {
    for (const key of keys.slice(i, i + 50)) client.put(key, `value of ${key}`, 1_000);
    cluster.finish();
  }
  for (const isReverse of [false, true]) {
    const found: string[] = [];
    let bound = '';
    for (;;) {
      const wish = {
        start: isReverse ? '' : bound,
        isAfterStart: !isReverse && bound !== '',
        end: isReverse ? bound : '',
      };
      const page = scan(cluster, client, { ...wish, isReverse, keysMax: 100, wantsValues: true })!;
      for (const [i, key] of page.keys.entries()) assert.equal(String(page.values[i]), `value of ${String(key)}`);
      found.push(...page.keys.map(String));
      if (page.covered === undefined) break;
      bound = String(page.covered);
    }
    assert.deepEqual(found, isReverse ? keys.toReversed() : keys);
  }
  const { messages } = cluster.observer.coverage;
  const before = messages.of('SCAN');
  const wish = { start: 'key-0500', isAfterStart: false, end: '', isReverse: false, keysMax: 3, wantsValues: false };
  assert.deepEqual(scan(cluster, client, wish)!.keys.map(String), ['key-0500', 'key-0501', 'key-0502']);
  assert.ok(messages.of('SCAN') - before <= 3, 'a page is one round');
  assert.equal(messages.of('READ'), 0, 'in calm no key needs a get');
});

test('a value larger than a datagram is in its place', () => {
  const cluster = formed({ seed: 1 });
  const client = connected(cluster);
  const large = 'x'.repeat(20_000);
  put(cluster, client, 'a', 'small');
  put(cluster, client, 'b', large);
  put(cluster, client, 'c', '');
  const page = scan(cluster, client)!;
  assert.deepEqual(
    [page.keys.map(String), page.values.map(String)],
    [
      ['a', 'b', 'c'],
      ['small', large, ''],
    ],
  );
});
