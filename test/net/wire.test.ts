import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { allocateRegion } from '../../net/bytes.ts';
import { WIRE_VERSION } from '../../net/limits.ts';
import {
  HEADER_BYTES,
  KIND_DATA,
  readCreditBytes,
  readPacketNumber,
  readSessionIndex,
  readValueBytes,
  reservedIsZero,
  writeDataHeader,
} from '../../net/wire.ts';

const u32 = fc.nat(0xffff_ffff);

test('should read back what it wrote into a data header, at the offsets of docs/wire.md', () => {
  fc.assert(
    fc.property(u32, fc.maxSafeNat(), fc.nat(65_504), u32, (sessionIndex, packetNumber, valueBytes, creditBytes) => {
      const region = allocateRegion(HEADER_BYTES + 8);
      region.bytes.fill(0xee);
      writeDataHeader(region.words, sessionIndex, packetNumber, valueBytes, creditBytes);
      assert.equal(readSessionIndex(region.words), sessionIndex);
      assert.equal(readPacketNumber(region.words), packetNumber);
      assert.equal(readValueBytes(region.words), valueBytes);
      assert.equal(readCreditBytes(region.words), creditBytes);
      assert.equal(reservedIsZero(region.words), true);
      const view = new DataView(region.bytes.buffer);
      assert.deepEqual([...region.bytes.subarray(0, 4)], [KIND_DATA, WIRE_VERSION, 0, 0]);
      assert.equal(view.getUint32(4, true), sessionIndex);
      assert.equal(view.getBigUint64(8, true), BigInt(packetNumber));
      assert.equal(view.getUint32(16, true), valueBytes);
      assert.equal(view.getUint32(20, true), creditBytes);
      assert.ok(region.bytes.subarray(HEADER_BYTES).every((byte) => byte === 0xee));
    }),
  );
});

test('should notice any reserved bit', () => {
  for (const byte of [2, 3]) {
    for (let bit = 0; bit < 8; bit++) {
      const region = allocateRegion(HEADER_BYTES);
      writeDataHeader(region.words, 1, 2, 3, 4);
      region.bytes[byte]! |= 1 << bit;
      assert.equal(reservedIsZero(region.words), false, `byte ${byte}, bit ${bit}`);
    }
  }
});
