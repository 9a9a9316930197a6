import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyRmw } from '../../src/protocol/rmw-function.ts';
import {
  CONDITION_ABSENT,
  CONDITION_NONE,
  CONDITION_VALUE,
  CONDITION_VERSION,
  RMW_DELETE,
  RMW_INCREMENT,
  RMW_RESEAL,
  RMW_SET,
} from '../../src/protocol/rmw-request.ts';
import type { RmwRequest } from '../../src/protocol/rmw-request.ts';
import { bytesOf, NO_STAMP, stampOf } from './fixtures.ts';

const NONE = new Uint8Array(0);
const SET: RmwRequest = {
  change: RMW_SET,
  condition: CONDITION_NONE,
  value: bytesOf('new'),
  expected: NONE,
  version: undefined,
  delta: 0n,
};

function kindOf(
  request: Partial<RmwRequest>,
  found: string | undefined,
  stamp = stampOf(3),
  isUnderCurrentKey = true,
): string {
  const bytes = found === undefined ? undefined : bytesOf(found);
  const result = applyRmw({ ...SET, ...request }, bytes, stamp, isUnderCurrentKey);
  return result.kind === 'set'
    ? `set ${Buffer.from(result.value).toString()}`
    : result.kind === 'none'
      ? result.outcome
      : 'delete';
}

test('should change what its condition holds for, and nothing else', () => {
  const value = (expected: string) => ({ condition: CONDITION_VALUE, expected: bytesOf(expected) }) as const;
  const version = (stamp = stampOf(3)) => ({ condition: CONDITION_VERSION, version: stamp }) as const;
  for (const [request, found, expected] of [
    [{}, undefined, 'set new'],
    [{}, 'old', 'set new'],
    [{ condition: CONDITION_ABSENT }, undefined, 'set new'],
    [{ condition: CONDITION_ABSENT }, '', 'mismatch'],
    [value('old'), 'old', 'set new'],
    [value('old'), 'older', 'mismatch'],
    [value(''), '', 'set new'],
    [value(''), undefined, 'mismatch'],
    [{ change: RMW_DELETE, ...value('old') }, 'old', 'delete'],
    [{ change: RMW_DELETE, ...value('old') }, undefined, 'mismatch'],
    [version(), 'old', 'set new'],
    [version(), undefined, 'set new'],
    [version(stampOf(4)), 'old', 'mismatch'],
    [version(stampOf(3, 2)), 'old', 'mismatch'],
    [version(stampOf(3, 1, 1)), 'old', 'mismatch'],
    [version(stampOf(3, 1, 0, 1)), 'old', 'mismatch'],
  ] as const) {
    assert.equal(kindOf(request, found), expected, JSON.stringify([found, expected]));
  }
  assert.equal(kindOf(version(NO_STAMP), undefined, NO_STAMP), 'set new');
});

test('should add to the decimal text of a signed 64-bit integer, and to an absent key as to 0', () => {
  const max = '9223372036854775807';
  const min = '-9223372036854775808';
  for (const [found, delta, expected] of [
    [undefined, 1n, 'set 1'],
    [undefined, -1n, 'set -1'],
    ['0', 5n, 'set 5'],
    ['-7', 7n, 'set 0'],
    [max, 0n, `set ${max}`],
    [max, 1n, 'overflow'],
    [min, -1n, 'overflow'],
    [min, 1n, 'set -9223372036854775807'],
    ['1', 2n ** 63n - 1n, 'overflow'],
    ['9007199254740993', 1n, 'set 9007199254740994'],
    ['9223372036854775808', 0n, 'not-an-integer'],
    ['-9223372036854775809', 0n, 'not-an-integer'],
  ] as const) {
    assert.equal(kindOf({ change: RMW_INCREMENT, delta }, found), expected, found);
  }
  for (const text of [
    '',
    ' 1',
    '1 ',
    '+1',
    '01',
    '-0',
    '1.0',
    '1e3',
    '0x10',
    '-',
    '١',
    '1\n',
    '12345678901234567890123',
  ]) {
    assert.equal(kindOf({ change: RMW_INCREMENT, delta: 1n }, text), 'not-an-integer', JSON.stringify(text));
  }
});

test('re-sealing keeps the value, and is done once', () => {
  const reseal = { change: RMW_RESEAL, value: NONE } as const;
  assert.equal(kindOf(reseal, 'value', stampOf(3), false), 'set value');
  assert.equal(kindOf(reseal, 'value', stampOf(3), true), 'mismatch');
  assert.equal(kindOf(reseal, undefined, stampOf(3), false), 'mismatch');
});
