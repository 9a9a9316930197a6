import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBlock } from '../../net/address-block.ts';

test('should take each IPv4 address for a host of its own, however it is written', () => {
  assert.equal(addressBlock('10.0.0.1'), '10.0.0.1');
  assert.equal(addressBlock('::ffff:10.0.0.1'), '10.0.0.1');
});

for (const [host, block] of [
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::', '2001:db8:1:2'],
  ['2001:db8:1:2::ff', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['2001:db8::1:0:0:1', '2001:db8:0:0'],
  ['2001:0:0:1::5', '2001:0:0:1'],
  ['::1', '0:0:0:0'],
  ['::', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
] as const) {
  test(`should take all addresses of a /64 for one host: ${host}`, () => {
    assert.equal(addressBlock(host), block);
  });
}
