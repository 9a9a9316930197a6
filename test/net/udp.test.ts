import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveHost } from '../../net/udp.ts';

test('should give addresses in the form that received datagrams have them', async () => {
  assert.equal(await resolveHost('127.0.0.1'), '127.0.0.1');
  assert.equal(await resolveHost('::1'), '::1');
  assert.equal(await resolveHost('0:0:0:0:0:0:0:1'), '::1');
  assert.equal(await resolveHost('2001:DB8:0:0::00ff'), '2001:db8::ff');
});

test('should look up names', async () => {
  assert.ok(['127.0.0.1', '::1'].includes(await resolveHost('localhost')));
});
