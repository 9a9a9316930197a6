/**
 * What every implementation of Sealing must do, in every mode. Nothing here counts on jobs being done in order, at
 * once, or in the first drain.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { datagramContract } from './datagram-contract.ts';
import { seededBytes } from './random.ts';
import { bytesOf, sealableValue, sessionKey, submitOpen, submitSeal } from './sealing-driver.ts';
import { valueContract } from './value-contract.ts';

/** @param make A fresh sealing; all that it makes have the same data keys. */
export function sealingContract(name: string, mode: SecurityMode, make: () => Sealing & KeyRegistry): void {
  describe(`${name}, ${mode}`, () => {
    datagramContract(mode, make);
    valueContract(mode, make);

    test('refuses jobs after close', () => {
      const sealing = make();
      const key = sessionKey(sealing, mode, 1);
      const value = sealableValue(sealing, seededBytes(8, 1), bytesOf('k'));
      sealing.close();
      assert.throws(() => sealing.submitOpenDatagram(0, key, 0, new Uint8Array(64), 16), AssertionError);
      assert.throws(
        () => sealing.submitSealDatagram(0, key, 0, new Uint8Array(64), 16, new Uint8Array(8), 8),
        AssertionError,
      );
      assert.throws(() => submitSeal(sealing, 0, value), AssertionError);
      assert.throws(() => submitOpen(sealing, 0, value), AssertionError);
    });
  });
}
