import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import { TRUSTED_BYTES_DEFAULT, TrustedBudget } from '../../src/store/trusted-budget.ts';

test('the default is the enclave page cache of SGX: 128 MiB', () => {
  assert.equal(new TrustedBudget().bytesMax, TRUSTED_BYTES_DEFAULT);
  assert.equal(TRUSTED_BYTES_DEFAULT, 134_217_728);
});

test('what is used never exceeds the limit, whatever is asked for', () => {
  const step = fc.record({ account: fc.constantFrom('a', 'b'), bytes: fc.nat(600), reserve: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const budget = new TrustedBudget(1_000);
      const held: Record<string, number> = { a: 0, b: 0 };
      for (const { account, bytes, reserve } of steps) {
        const used = held['a']! + held['b']!;
        if (reserve) {
          assert.equal(budget.tryReserve(account, bytes), used + bytes <= 1_000);
          if (used + bytes <= 1_000) held[account]! += bytes;
        } else if (bytes <= held[account]!) {
          budget.release(account, bytes);
          held[account]! -= bytes;
        } else {
          assert.throws(() => budget.release(account, bytes), AssertionError);
        }
        budget.invariants();
        assert.ok(budget.used <= budget.bytesMax);
        assert.equal(budget.used, held['a']! + held['b']!);
        assert.equal(budget.available, 1_000 - budget.used);
        assert.equal(budget.byAccount().get('a') ?? 0, held['a']);
      }
    }),
  );
});

test('no reservation is negative or a fraction', () => {
  const budget = new TrustedBudget(1_000);
  for (const bytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => budget.tryReserve('a', bytes), AssertionError);
    assert.throws(() => budget.release('a', bytes), AssertionError);
  }
});
