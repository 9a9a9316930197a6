import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AssertionError } from '../../net/assert.ts';
import { createDatagramCipher } from '../../workers/datagram-cipher.ts';
import { createInlineSealing, InlineSealing } from '../../workers/inline-sealing.ts';
import { KeyTable } from '../../workers/key-table.ts';
import { randomBytes } from '../../workers/sodium.ts';
import { SealedValues } from '../../workers/value-cipher.ts';
import { seededBytes } from './random.ts';
import { bytesOf, openValue, sealableValue, sealValue, submitOpen, submitSeal } from './sealing-driver.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const dataKeys = DataKeyRing.of(1, seededBytes(32, 1));

test('close overwrites session keys and the last opened value', () => {
  const table = new KeyTable();
  const values = new SealedValues(dataKeys, randomBytes);
  const sealing = new InlineSealing(createDatagramCipher('secure'), table, values);
  const handle = sealing.importKey(seededBytes(32, 1));
  table.retain(handle);
  const memory = table.bytes(handle);
  openValue(sealing, sealValue(sealing, bytesOf('a secret'), bytesOf('key')));
  assert.deepEqual(sealing.openedValue.subarray(0, 8), bytesOf('a secret'));
  sealing.close();
  assert.deepEqual(memory, new Uint8Array(32));
  assert.deepEqual(sealing.openedValue.subarray(0, 8), new Uint8Array(8));
  sealing.close();
});

test('a sink may close the sealing: the jobs that are left are dropped', () => {
  const sealing = createInlineSealing({ mode: 'secure', dataKeys });
  const value = sealableValue(sealing, bytesOf('value'), bytesOf('key'));
  const key = sealing.importKey(seededBytes(32, 1));
  for (let i = 0; i < 3; i++) {
    submitSeal(sealing, i, value);
    sealing.submitSealDatagram(i, key, i, new Uint8Array(64), 16, new Uint8Array(8), 8);
  }
  const reported: number[] = [];
  const valueSink = {
    onValueSealed(token: number) {
      reported.push(token);
      sealing.close();
    },
    onValueOpened() {},
  };
  const datagramSink = { onDatagramSealed: (token: number) => void reported.push(token), onDatagramOpened() {} };
  assert.equal(sealing.drainValues(valueSink), 1);
  assert.equal(sealing.drainValues(valueSink), 0);
  assert.equal(sealing.drainDatagrams(datagramSink), 0);
  assert.deepEqual(reported, [0]);
});

test('a sink that drains what reports to it is an assertion: it would lose the opened value under its caller', () => {
  const sealing = createInlineSealing({ mode: 'secure', dataKeys });
  const value = sealValue(sealing, bytesOf('value'), bytesOf('key'));
  const key = sealing.importKey(seededBytes(32, 1));
  const valueSink = {
    onValueSealed() {},
    onValueOpened() {
      sealing.drainValues(valueSink);
    },
  };
  submitOpen(sealing, 0, value);
  assert.throws(() => sealing.drainValues(valueSink), AssertionError);
  const datagramSink = {
    onDatagramSealed() {
      sealing.drainDatagrams(datagramSink);
    },
    onDatagramOpened() {},
  };
  sealing.submitSealDatagram(0, key, 0, new Uint8Array(64), 16, new Uint8Array(8), 8);
  assert.throws(() => sealing.drainDatagrams(datagramSink), AssertionError);
});

test('a job whose report throws is not reported again', () => {
  const sealing = createInlineSealing({ mode: 'secure', dataKeys });
  const key = sealing.importKey(seededBytes(32, 1));
  const reported: number[] = [];
  const report = (token: number) => {
    reported.push(token);
    if (token === 0) throw new Error('from the sink');
  };
  const sink = { onDatagramSealed: report, onDatagramOpened() {}, onValueSealed: report, onValueOpened() {} };
  for (const token of [0, 1]) {
    sealing.submitSealDatagram(token, key, token, new Uint8Array(64), 16, new Uint8Array(8), 8);
    submitSeal(sealing, token, sealableValue(sealing, bytesOf('value'), bytesOf('key')));
  }
  assert.throws(() => sealing.drainDatagrams(sink), /from the sink/);
  assert.equal(sealing.drainDatagrams(sink), 1);
  assert.throws(() => sealing.drainValues(sink), /from the sink/);
  assert.equal(sealing.drainValues(sink), 1);
  assert.deepEqual(reported, [0, 1, 0, 1]);
});

test('a datagram that does not fit its buffers, or whose number is no packet number, is refused when it is submitted', () => {
  const sealing = createInlineSealing({ mode: 'secure', dataKeys });
  const key = sealing.importKey(seededBytes(32, 1));
  const submit = (packetBytes: number, controlBytes: number, packetNumber: number) =>
    sealing.submitSealDatagram(0, key, packetNumber, new Uint8Array(packetBytes), 16, new Uint8Array(8), controlBytes);
  submit(40, 8, 0);
  assert.throws(() => submit(39, 8, 0), AssertionError, 'no room for the tag');
  assert.throws(() => submit(64, 9, 0), AssertionError, 'more than the control buffer holds');
  for (const number of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => submit(40, 8, number), AssertionError);
});

test('buffers of finished jobs are let go', async () => {
  const sealing = createInlineSealing({ mode: 'plaintext', dataKeys });
  let wasCollected = false;
  const registry = new FinalizationRegistry(() => {
    wasCollected = true;
  });
  (() => {
    const packet = new Uint8Array(1_000_000);
    registry.register(packet, 0);
    sealing.submitOpenDatagram(0, -1, 0, packet, 16);
    sealing.drainDatagrams({ onDatagramSealed() {}, onDatagramOpened() {} });
  })();
  for (let i = 0; i < 100 && !wasCollected; i++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(wasCollected);
});
