/** What is shown while the bench works: rewritten on a terminal, lines elsewhere, nothing when quiet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProgress } from '../../bench/progress.ts';

function shown(isTTY: boolean, quiet: boolean): string {
  let text = '';
  const progress = createProgress({ isTTY, write: (part) => (text += part) }, quiet);
  progress.update('one');
  progress.update('two');
  progress.note('stays');
  progress.clear();
  return text;
}

test('a terminal has one line that is rewritten, and notes that stay', () => {
  assert.equal(shown(true, false), '\r\u001b[Kone\r\u001b[Ktwo\r\u001b[Kstays\n\r\u001b[K');
});

test('elsewhere each is a line, without control characters', () => {
  assert.equal(shown(false, false), 'one\ntwo\nstays\n');
});

test('quiet is quiet', () => {
  assert.equal(shown(true, true), '');
  assert.equal(shown(false, true), '');
});
