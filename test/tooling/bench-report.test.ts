/** The check of the bench's report against reports of a bench that did not work. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultsOf } from './bench-report.ts';

const good = ['secure', 'authenticated', 'plaintext'].map((mode) => ({ mode, opsPerSec: 100, errors: 0 }));

function faultsWith(change: Record<string, unknown>): string[] {
  return faultsOf(JSON.stringify({ runs: good.map((run) => (run.mode === 'secure' ? { ...run, ...change } : run)) }));
}

test('a report in which every mode worked is accepted', () => {
  assert.deepEqual(faultsOf(JSON.stringify({ runs: [...good, ...good] })), []);
});

test('a missing mode, no operations and errors are each refused', () => {
  assert.deepEqual(faultsWith({ mode: 'other' }), ['no run in mode secure']);
  assert.deepEqual(faultsWith({ opsPerSec: 0 }), ['secure: opsPerSec is 0']);
  assert.deepEqual(faultsWith({ opsPerSec: '9' }), ['secure: opsPerSec is 9']);
  assert.deepEqual(faultsWith({ opsPerSec: undefined }), ['secure: opsPerSec is undefined']);
  assert.deepEqual(faultsWith({ errors: 1 }), ['secure: errors is 1']);
  assert.deepEqual(faultsWith({ errors: undefined }), ['secure: errors is undefined']);
});

test('one bad run among good ones of its mode is refused', () => {
  const runs = [...good, { mode: 'plaintext', opsPerSec: 0, errors: 0 }];
  assert.deepEqual(faultsOf(JSON.stringify({ runs })), ['plaintext: opsPerSec is 0']);
});

test('what is no report is refused', () => {
  assert.equal(faultsOf('').length, 1);
  assert.deepEqual(faultsOf('null'), ['no list "runs"']);
  assert.deepEqual(faultsOf('{"runs":{}}'), ['no list "runs"']);
  assert.equal(faultsOf('{"runs":[null]}').length, 3);
});
