import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import { test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import { allocateRegion } from '../../net/bytes.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { DataKeys, KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { randomBytes } from '../../workers/sodium.ts';
import { SealedValues } from '../../workers/value-cipher.ts';
import { seededBytes } from './random.ts';
import type { PlacedValue } from './sealing-driver.ts';
import { bytesOf, copyOfValue, openValue, sealableValue, sealValue, submitSeal } from './sealing-driver.ts';

/** Counts how often a data key is asked for: once a derivation. */
class CountedDataKeys implements DataKeys {
  readonly generation = 0;
  readonly #currentId: number;
  readonly #keys: ReadonlyMap<number, Uint8Array>;
  askedCount = 0;

  constructor(currentId: number, ids: readonly number[]) {
    this.#currentId = currentId;
    this.#keys = new Map(ids.map((id) => [id, seededBytes(32, id)]));
  }

  currentId(): number {
    return this.#currentId;
  }

  key(id: number): Uint8Array | undefined {
    this.askedCount++;
    return this.#keys.get(id);
  }
}

function sealingWith(dataKeys: DataKeys): Sealing & KeyRegistry {
  return createInlineSealing({ mode: 'secure', dataKeys });
}

function saltOf(value: PlacedValue): string {
  return Buffer.from(value.envelope.bytes.subarray(16, 32)).toString('hex');
}

function nonceOf(value: PlacedValue): string {
  return Buffer.from(value.envelope.bytes.subarray(4, 16)).toString('hex');
}

test('an envelope is key id, nonce, salt and what RFC 8439 makes of the value, as docs/wire.md says', () => {
  const dataKeys: DataKeys = DataKeyRing.of(
    7,
    Uint8Array.from({ length: 32 }, (_, i) => i),
  );
  const salt = Uint8Array.from({ length: 16 }, (_, i) => 0x10 + i);
  const sealing = createInlineSealing({ mode: 'secure', dataKeys, randomBytes: () => salt });
  const [, value] = [
    sealValue(sealing, bytesOf('first'), bytesOf('k')),
    sealValue(sealing, bytesOf('two'), bytesOf('key')),
  ];
  const header = Buffer.from(value.envelope.bytes.subarray(0, 32));
  assert.equal(header.toString('hex'), `07000000${'020000000000000000000000'}${Buffer.from(salt).toString('hex')}`);

  // The key as Python's hashlib.blake2b derives it, opened by another implementation.
  const valueKey = Buffer.from('de5dc5561ee07547f1ac2a9dcedbd8f39f4d8623d39f4935e64bda28ba351c90', 'hex');
  const decipher = createDecipheriv('chacha20-poly1305', valueKey, header.subarray(4, 16), { authTagLength: 16 });
  decipher.setAAD(bytesOf('key'), { plaintextLength: 3 });
  decipher.setAuthTag(new Uint8Array(value.tagWords.buffer));
  const opened = Buffer.concat([decipher.update(value.envelope.bytes.subarray(32, 35)), decipher.final()]);
  assert.equal(opened.toString(), 'two');
});

test('no pair of salt and nonce comes twice, over restarts too', () => {
  const dataKeys = new CountedDataKeys(1, [1]);
  const seen = new Set<string>();
  for (let restart = 0; restart < 50; restart++) {
    const sealing = sealingWith(dataKeys);
    for (let i = 0; i < 20; i++) {
      const value = sealValue(sealing, bytesOf('same value'), bytesOf('same key'));
      seen.add(`${saltOf(value)} ${nonceOf(value)}`);
    }
  }
  assert.equal(seen.size, 50 * 20);
});

test('nonces are given out when jobs are submitted, not when they are done', () => {
  const sealing = sealingWith(new CountedDataKeys(1, [1]));
  const values = [1, 2, 3].map((i) => sealableValue(sealing, bytesOf('value'), bytesOf(`key ${i}`)));
  values.forEach((value, i) => submitSeal(sealing, i, value));
  sealing.drainValues({ onValueSealed() {}, onValueOpened() {} });
  assert.deepEqual(
    values.map((value) => value.envelope.words[1]),
    [1, 2, 3],
  );
});

test('a nonce used again is an assertion, before anything is encrypted', () => {
  const cipher = new SealedValues(new CountedDataKeys(1, [1]), randomBytes);
  const envelope = allocateRegion(40);
  const [tag, key] = [new Int32Array(4), new Int32Array(2)];
  cipher.seal(5, envelope, 0, 40, tag, 0, key, 0, 8);
  const sealedOnce = envelope.bytes.slice();
  assert.throws(() => cipher.seal(5, envelope, 0, 40, tag, 0, key, 0, 8), AssertionError);
  assert.throws(() => cipher.seal(4, envelope, 0, 40, tag, 0, key, 0, 8), AssertionError);
  assert.deepEqual(envelope.bytes, sealedOnce);
});

test('a value under another data key opens when the key is known, and else does not', () => {
  const old = sealValue(sealingWith(new CountedDataKeys(1, [1])), bytesOf('old'), bytesOf('key'));
  assert.deepEqual(openValue(sealingWith(new CountedDataKeys(2, [1, 2])), old), bytesOf('old'));
  assert.equal(openValue(sealingWith(new CountedDataKeys(2, [2])), old), undefined);
});

test('a key id uses all of its 32 bits', () => {
  const dataKeys = new CountedDataKeys(0xffff_fffe, [0xffff_fffe]);
  const value = sealValue(sealingWith(dataKeys), bytesOf('value'), bytesOf('key'));
  assert.deepEqual(openValue(sealingWith(dataKeys), value), bytesOf('value'));
});

test('a value under the right id of a different data key does not open', () => {
  const value = sealValue(sealingWith(new CountedDataKeys(1, [1])), bytesOf('value'), bytesOf('key'));
  const other = DataKeyRing.of(1, seededBytes(32, 99));
  assert.equal(openValue(sealingWith(other), value), undefined);
});

test('a writer’s key is derived once', () => {
  const value = sealValue(sealingWith(new CountedDataKeys(1, [1])), bytesOf('value'), bytesOf('key'));
  const dataKeys = new CountedDataKeys(1, [1]);
  const reader = sealingWith(dataKeys);
  const askedAtStart = dataKeys.askedCount;
  for (let i = 0; i < 100; i++) assert.deepEqual(openValue(reader, value), bytesOf('value'));
  assert.equal(dataKeys.askedCount - askedAtStart, 1);
});

test('salts that a host made up push no key out of the cache', () => {
  const value = sealValue(sealingWith(new CountedDataKeys(1, [1])), bytesOf('value'), bytesOf('key'));
  const dataKeys = new CountedDataKeys(1, [1]);
  const reader = sealingWith(dataKeys);
  openValue(reader, value);
  for (let i = 1; i <= 200; i++) {
    const forged = copyOfValue(value);
    // The last word of the salt: the entry would come into the same set.
    forged.envelope.words[7] = forged.envelope.words[7]! ^ i;
    assert.equal(openValue(reader, forged), undefined);
  }
  const askedBefore = dataKeys.askedCount;
  assert.deepEqual(openValue(reader, value), bytesOf('value'));
  assert.equal(dataKeys.askedCount, askedBefore);
});

test('a header that changes in host memory while it is opened poisons no cached key', () => {
  const value = sealValue(sealingWith(new CountedDataKeys(1, [1])), bytesOf('value'), bytesOf('key'));
  const genuine = copyOfValue(value);
  const honest = new CountedDataKeys(1, [1]);
  let isHostile = false;
  const dataKeys: DataKeys = {
    generation: 0,
    currentId: () => 1,
    key(id) {
      // The host writes between two steps of the same open.
      if (isHostile) value.envelope.words.fill(0x5a5a5a5a, 1, 8);
      return honest.key(id);
    },
  };
  const reader = sealingWith(dataKeys);
  isHostile = true;
  assert.deepEqual(openValue(reader, value), bytesOf('value'));
  isHostile = false;
  const askedBefore = honest.askedCount;
  assert.deepEqual(openValue(reader, genuine), bytesOf('value'));
  assert.equal(honest.askedCount, askedBefore, 'the key was kept under the salt that it belongs to');
});

test('the nonce of an envelope that was opened leaves no trace in the next one sealed', () => {
  const sealing = sealingWith(new CountedDataKeys(1, [1]));
  const forged = sealValue(sealing, bytesOf('value'), bytesOf('key'));
  forged.envelope.words.fill(-1, 1, 4);
  openValue(sealing, forged);
  assert.equal(nonceOf(sealValue(sealing, bytesOf('value'), bytesOf('key'))), '020000000000000000000000');
});

test('an opened value is gone from view after one that does not open', () => {
  const sealing = sealingWith(new CountedDataKeys(1, [1]));
  const value = sealValue(sealing, bytesOf('secret value'), bytesOf('key'));
  openValue(sealing, value);
  const forged = copyOfValue(value);
  forged.tagWords[0] = forged.tagWords[0]! ^ 1;
  openValue(sealing, forged);
  assert.equal(sealing.openedValueBytes, 0);
});

test('close overwrites the last opened value, and seals nothing any more', () => {
  const cipher = new SealedValues(new CountedDataKeys(1, [1]), randomBytes);
  const envelope = allocateRegion(40);
  envelope.bytes.set(bytesOf('a secret'), 32);
  const [tag, key] = [new Int32Array(4), new Int32Array(2)];
  cipher.seal(1, envelope, 0, 40, tag, 0, key, 0, 8);
  assert.ok(cipher.open(envelope, 0, 40, tag, 0, key, 0, 8));
  assert.deepEqual(cipher.openedValue.subarray(0, 8), bytesOf('a secret'));
  cipher.close();
  assert.ok(cipher.openedValue.every((byte) => byte === 0));
  assert.equal(cipher.seal(2, envelope, 0, 40, tag, 0, key, 0, 8), false);
});

test('what does not lie within its buffers is refused when it is submitted', () => {
  const sealing = sealingWith(new CountedDataKeys(1, [1]));
  const value = sealableValue(sealing, seededBytes(64, 1), bytesOf('key'));
  const wrong: Partial<PlacedValue>[] = [
    { envelopeBytes: 97 },
    { envelopeWord: 2 },
    { envelopeBytes: 31 },
    { tagWord: 1 },
    { keyBytes: 1_025 },
  ];
  for (const change of wrong) {
    assert.throws(() => submitSeal(sealing, 0, { ...value, ...change }), AssertionError, JSON.stringify(change));
  }
});
