/** The part of the sealing contract (sealing-contract.ts) about datagrams. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { KeyHandle } from '../../net/sealing.ts';
import type { KeyRegistry, Sealing, SealingSink } from '../../workers/sealing.ts';
import { seededBytes } from './random.ts';
import {
  bytesFor,
  bytesOf,
  DRAINS_MAX,
  letWorkersWork,
  Reports,
  sessionKey,
  settleDatagrams,
} from './sealing-driver.ts';

export function datagramContract(mode: SecurityMode, make: () => Sealing & KeyRegistry): void {
  test('a datagram opens to what was sealed, at any length and packet number', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const packetNumbers = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(Number.MAX_SAFE_INTEGER));
    fc.assert(
      fc.property(fc.nat(9_000), fc.nat(4_096), packetNumbers, fc.nat(40), (offset, controlBytes, number, slack) => {
        roundTripDatagram(sealing, key, offset, controlBytes, number, slack);
      }),
      { numRuns: 60 },
    );
    roundTripDatagram(sealing, key, 60_000, 900, 1, 0);
    roundTripDatagram(sealing, key, 24, 60_000, 2, 0);
  });

  test('the control part is hidden in secure mode only, the rest never', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const { packet, control, controlOffset } = sealDatagram(sealing, key, 5, 96, 64);
    const part = packet.subarray(controlOffset, controlOffset + control.length);
    assert.equal(Buffer.compare(part, control) === 0, mode !== 'secure');
    assert.equal(sealing.datagramTagBytes, mode === 'plaintext' ? 0 : 16);
  });

  test('a datagram too short for its control part and tag does not open', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const { packet, controlOffset } = sealDatagram(sealing, key, 5, 96, 0);
    assert.equal(openDatagram(sealing, key, 5, packet.slice(), controlOffset), true);
    for (let byteCount = 0; byteCount < packet.length; byteCount++) {
      assert.equal(openDatagram(sealing, key, 5, packet.slice(0, byteCount), controlOffset), false);
    }
  });

  test('a datagram with a packet number that nobody sends does not open', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const { packet, controlOffset } = sealDatagram(sealing, key, 5, 96, 8);
    for (const number of [2 ** 53, 2 ** 64]) {
      assert.equal(openDatagram(sealing, key, number, packet.slice(), controlOffset), false);
    }
  });

  test('many datagrams at once: each job is reported once and has its own result', () => {
    const sealing = make();
    const keys = [sessionKey(sealing, mode, 1), sessionKey(sealing, mode, 2)];
    const jobs = Array.from({ length: 1_500 }, (_, i) => {
      const head = seededBytes(8 * (i % 5), i);
      const packet = bytesFor(sealing, head.length + (i % 300) + sealing.datagramTagBytes);
      packet.set(head);
      const control = bytesFor(sealing, i % 300);
      control.set(seededBytes(i % 300, i + 1));
      return { packet, control, offset: head.length, key: keys[i % 2]! };
    });
    const reported = new Reports();
    jobs.forEach((job, i) =>
      sealing.submitSealDatagram(i, job.key, i, job.packet, job.offset, job.control, job.control.length),
    );
    settleDatagrams(sealing, reported, jobs.length);
    jobs.forEach((job, i) => sealing.submitOpenDatagram(jobs.length + i, job.key, i, job.packet, job.offset));
    settleDatagrams(sealing, reported, 2 * jobs.length);
    jobs.forEach((job, i) => {
      assert.equal(reported.opened.get(jobs.length + i), true);
      const opened = job.packet.subarray(job.offset, job.packet.length - sealing.datagramTagBytes);
      assert.deepEqual(opened, job.control);
    });
  });

  test('a sink may submit while it is told: those jobs are done too', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const packet = bytesFor(sealing, 24 + sealing.datagramTagBytes);
    const control = bytesFor(sealing, 8);
    control.set(bytesOf('answer..'));
    const log: string[] = [];
    const sink: SealingSink = {
      onDatagramSealed(token) {
        log.push(`sealed ${token}`);
        sealing.submitOpenDatagram(token + 1, key, token, packet, 16);
      },
      onDatagramOpened(token, opened) {
        log.push(`opened ${token} ${opened}`);
        if (token < 9) sealing.submitSealDatagram(token + 1, key, token + 1, packet, 16, control, 8);
      },
    };
    sealing.submitSealDatagram(0, key, 0, packet, 16, control, 8);
    for (let drains = 0; log.length < 10; drains++) {
      assert.ok(drains < DRAINS_MAX, 'all jobs end');
      sealing.drainDatagrams(sink);
      letWorkersWork(sealing);
    }
    assert.equal(sealing.drainDatagrams(sink), 0);
    const expected = [0, 2, 4, 6, 8].flatMap((token) => [`sealed ${token}`, `opened ${token + 1} true`]);
    assert.deepEqual(log, expected);
  });

  if (mode === 'plaintext') return;

  test('one flipped bit anywhere in header, value part, control part or tag is caught', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const { packet, controlOffset } = sealDatagram(sealing, key, 5, 88, 56);
    const reported = new Reports();
    const bitCount = packet.length * 8;
    for (let bit = 0; bit < bitCount; bit++) {
      const forged = packet.slice();
      forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
      sealing.submitOpenDatagram(bit, key, 5, forged, controlOffset);
    }
    sealing.submitOpenDatagram(bitCount, key, 5, packet.slice(), controlOffset);
    settleDatagrams(sealing, reported, bitCount + 1);
    for (let bit = 0; bit < bitCount; bit++) assert.equal(reported.opened.get(bit), false, `bit ${bit}`);
    assert.equal(reported.opened.get(bitCount), true);
  });

  test('a datagram does not open under another packet number, key or division into parts', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const other = sessionKey(sealing, mode, 2);
    const { packet, controlOffset } = sealDatagram(sealing, key, 5, 96, 64);
    assert.equal(openDatagram(sealing, key, 6, packet.slice(), controlOffset), false);
    assert.equal(openDatagram(sealing, key, 5 + 2 ** 32, packet.slice(), controlOffset), false);
    assert.equal(openDatagram(sealing, other, 5, packet.slice(), controlOffset), false);
    if (mode === 'secure') assert.equal(openDatagram(sealing, key, 5, packet.slice(), controlOffset + 8), false);
    assert.equal(openDatagram(sealing, key, 5, packet.slice(), controlOffset), true);
  });

  test('an erased key is of no use, and its handle is given out again', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const { packet, controlOffset } = sealDatagram(sealing, key, 5, 16, 8);
    sealing.eraseKey(key);
    assert.throws(() => sealing.submitOpenDatagram(0, key, 5, packet, controlOffset), AssertionError);
    assert.throws(
      () => sealing.submitSealDatagram(0, key, 5, new Uint8Array(64), 16, new Uint8Array(8), 8),
      AssertionError,
    );
    const next = sessionKey(sealing, mode, 2);
    assert.equal(next, key);
    assert.equal(openDatagram(sealing, next, 5, packet, controlOffset), false);
  });

  test('a key erased while jobs are under way still serves them, and no other key takes its place before', () => {
    const sealing = make();
    const key = sessionKey(sealing, mode, 1);
    const datagrams = [0, 1, 2, 3].map((number) => sealDatagram(sealing, key, number, 16, 8));
    datagrams.forEach(({ packet, controlOffset }, i) => sealing.submitOpenDatagram(i, key, i, packet, controlOffset));
    sealing.eraseKey(key);
    assert.throws(() => sealing.submitOpenDatagram(9, key, 9, new Uint8Array(64), 16), AssertionError);
    const next = sessionKey(sealing, mode, 2);
    const reported = new Reports();
    settleDatagrams(sealing, reported, 4);
    assert.deepEqual([...reported.opened.values()], [true, true, true, true]);
    assert.equal(openDatagram(sealing, next, 7, sealDatagram(sealing, next, 7, 16, 8).packet, 16), true);
  });
}

function sealDatagram(
  sealing: Sealing,
  key: KeyHandle,
  packetNumber: number,
  controlOffset: number,
  controlBytes: number,
): { packet: Uint8Array; control: Uint8Array; controlOffset: number } {
  const packet = bytesFor(sealing, controlOffset + controlBytes + sealing.datagramTagBytes);
  const head = seededBytes(controlOffset, 3);
  packet.set(head);
  const control = bytesFor(sealing, controlBytes);
  control.set(seededBytes(controlBytes, 4));
  sealing.submitSealDatagram(0, key, packetNumber, packet, controlOffset, control, controlBytes);
  settleDatagrams(sealing, new Reports(), 1);
  assert.deepEqual(packet.subarray(0, controlOffset), head, 'header and value part stay in clear');
  return { packet, control, controlOffset };
}

function openDatagram(
  sealing: Sealing,
  key: KeyHandle,
  packetNumber: number,
  packet: Uint8Array,
  controlOffset: number,
): boolean {
  const reported = new Reports();
  sealing.submitOpenDatagram(0, key, packetNumber, packet, controlOffset);
  settleDatagrams(sealing, reported, 1);
  return reported.opened.get(0)!;
}

/** Both buffers are larger than the datagram, as ring slots are. */
function roundTripDatagram(
  sealing: Sealing,
  key: KeyHandle,
  controlOffset: number,
  controlBytes: number,
  packetNumber: number,
  slackBytes: number,
): void {
  const head = seededBytes(controlOffset, 1);
  const control = bytesFor(sealing, controlBytes + slackBytes);
  control.set(seededBytes(control.length, 2));
  const datagramBytes = controlOffset + controlBytes + sealing.datagramTagBytes;
  const slot = bytesFor(sealing, datagramBytes + slackBytes).fill(0xee);
  slot.set(head);
  sealing.submitSealDatagram(7, key, packetNumber, slot, controlOffset, control, controlBytes);
  settleDatagrams(sealing, new Reports(), 1);
  assert.ok(
    slot.subarray(datagramBytes).every((byte) => byte === 0xee),
    'nothing is written behind the tag',
  );
  assert.deepEqual(control, seededBytes(controlBytes + slackBytes, 2), 'the control buffer is left as it is');

  const packet = slot.slice(0, datagramBytes);
  assert.equal(openDatagram(sealing, key, packetNumber, packet, controlOffset), true);
  assert.deepEqual(packet.subarray(0, controlOffset), head);
  assert.deepEqual(packet.subarray(controlOffset, controlOffset + controlBytes), control.subarray(0, controlBytes));
}
