/** Data keys that change while a sealing is in use: it follows, forgets, and never uses a nonce again. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import type { CurrentSpace } from '../../src/trust/data-key-ring.ts';
import { createInlineSealing, InlineSealing } from '../../workers/inline-sealing.ts';
import { createDatagramCipher } from '../../workers/datagram-cipher.ts';
import { KeyTable } from '../../workers/key-table.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { randomBytes } from '../../workers/sodium.ts';
import { SealedValues } from '../../workers/value-cipher.ts';
import { WorkerPool } from '../../workers/worker-pool.ts';
import { WorkerSealing } from '../../workers/worker-sealing.ts';
import { WriterKeys } from '../../workers/writer-keys.ts';
import { seededBytes } from './random.ts';
import type { PlacedValue } from './sealing-driver.ts';
import { bytesOf, openValue, Reports, sealableValue, sealValue, settleValues, submitSeal } from './sealing-driver.ts';
import { EVERYTHING } from './worker-fixture.ts';

const KEY = bytesOf('key');
/** In one piece, and in chunks. */
const LENGTHS = [100, 40_000];

function spaces(currentId: number): CurrentSpace[] {
  return [{ name: 'default', prefix: new Uint8Array(0), currentId }];
}

function twoKeys(): DataKeyRing {
  return new DataKeyRing(
    spaces(1),
    [1, 2].map((id) => ({ id, key: seededBytes(32, id) })),
  );
}

function keyIdOf(value: PlacedValue): number {
  return value.envelope.words[0]!;
}

function saltAndNonceOf(value: PlacedValue): string {
  return Buffer.from(value.envelope.bytes.subarray(4, 32)).toString('hex');
}

function followsKeys(make: (ring: DataKeyRing) => Sealing & KeyRegistry): void {
  for (const valueBytes of LENGTHS) {
    const value = seededBytes(valueBytes, 1);

    test(`${valueBytes} bytes: values are sealed under the key that is current, and old ones open as long as theirs is known`, () => {
      const ring = twoKeys();
      const sealing = make(ring);
      const old = sealValue(sealing, value, KEY);
      ring.update(spaces(2), []);
      const fresh = sealValue(sealing, value, KEY);
      assert.deepEqual([keyIdOf(old), keyIdOf(fresh)], [1, 2]);
      assert.deepEqual(openValue(sealing, old), value);
      assert.deepEqual(openValue(sealing, fresh), value);
      ring.destroy(1);
      sealing.drainValues(new Reports());
      assert.equal(openValue(sealing, old), undefined, 'what was derived from it is gone as well');
      assert.deepEqual(openValue(sealing, fresh), value);
      sealing.close();
    });

    test(`${valueBytes} bytes: no nonce comes twice, over a change and back`, () => {
      const ring = twoKeys();
      const sealing = make(ring);
      const seen: string[] = [];
      for (const currentId of [1, 2, 1, 2, 1]) {
        ring.update(spaces(currentId), []);
        for (let i = 0; i < 3; i++) seen.push(saltAndNonceOf(sealValue(sealing, value, KEY)));
      }
      assert.equal(new Set(seen).size, seen.length);
      sealing.close();
    });

    test(`${valueBytes} bytes: without a data key nothing is sealed, and that is reported`, () => {
      const ring = twoKeys();
      const sealing = make(ring);
      const placed = sealableValue(sealing, value, KEY);
      const clear = placed.envelope.bytes.slice();
      ring.update(spaces(9), []);
      submitSeal(sealing, 1, placed);
      const reports = new Reports(sealing);
      settleValues(sealing, reports, 1);
      assert.equal(reports.sealed.get(1), false);
      assert.deepEqual(placed.envelope.bytes, clear);
      ring.update(spaces(1), []);
      assert.deepEqual(openValue(sealing, sealValue(sealing, value, KEY)), value);
      sealing.close();
    });

    test(`${valueBytes} bytes: a key that goes while a value is sealed leaves a value that opens, or none`, () => {
      const ring = twoKeys();
      const sealing = make(ring);
      const placed = sealableValue(sealing, value, KEY);
      submitSeal(sealing, 1, placed);
      ring.update(spaces(2), []);
      ring.destroy(1);
      const reports = new Reports(sealing);
      settleValues(sealing, reports, 1);
      if (reports.sealed.get(1) === true) assert.deepEqual(openValue(sealing, placed), value);
      else assert.equal(openValue(sealing, placed), undefined);
      assert.deepEqual(openValue(sealing, sealValue(sealing, value, KEY)), value);
      sealing.close();
    });
  }
}

describe('inline', () => {
  followsKeys((dataKeys) => createInlineSealing({ mode: 'secure', dataKeys }));
});

describe('with workers', () => {
  let pool: WorkerPool;
  before(async () => {
    pool = await WorkerPool.start({ workerCount: 1 });
  });
  after(async () => {
    await pool.close();
  });

  followsKeys((ring) => {
    const keys = new KeyTable();
    const values = new SealedValues(ring, randomBytes);
    const inline = new InlineSealing(createDatagramCipher('secure'), keys, values);
    return new WorkerSealing({ mode: 'secure', inline, keys, values, pool, threshold: EVERYTHING });
  });
});

test('each space is sealed under its own key', () => {
  const ring = new DataKeyRing(
    [...spaces(1), { name: 'other', prefix: bytesOf('other/'), currentId: 2 }],
    [1, 2].map((id) => ({ id, key: seededBytes(32, id) })),
  );
  const sealing = createInlineSealing({ mode: 'secure', dataKeys: ring });
  const idFor = (key: string): number => keyIdOf(sealValue(sealing, bytesOf('value'), bytesOf(key)));
  assert.deepEqual(['o', 'other', 'other/', 'other/x', 'others'].map(idFor), [1, 1, 2, 2, 1]);
});

test('what was derived from a data key that is no more is overwritten, the rest is kept', () => {
  const ring = twoKeys();
  const keys = new WriterKeys(ring, seededBytes(16, 1));
  const first = keys.of(new Int32Array(2), 0, 3)!;
  ring.update(spaces(2), []);
  const second = keys.of(new Int32Array(2), 0, 3)!;
  ring.destroy(1);
  keys.forget();
  assert.ok(first.isErased);
  assert.deepEqual(first.valueKey, new Uint8Array(32));
  assert.deepEqual(first.chunkKeys, new Uint8Array(64));
  assert.equal(keys.of(new Int32Array(2), 0, 3), second);
  assert.notDeepEqual(second.valueKey, new Uint8Array(32));
  keys.close();
  assert.deepEqual(second.valueKey, new Uint8Array(32));
  assert.equal(keys.of(new Int32Array(2), 0, 3), undefined);
});
