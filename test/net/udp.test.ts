import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UdpTransport, resolveHost } from '../../net/udp.ts';

test('should give addresses in the form that received datagrams have them', async () => {
  assert.equal(await resolveHost('127.0.0.1'), '127.0.0.1');
  assert.equal(await resolveHost('::1'), '::1');
  assert.equal(await resolveHost('0:0:0:0:0:0:0:1'), '::1');
  assert.equal(await resolveHost('2001:DB8:0:0::00ff'), '2001:db8::ff');
});

test('should look up names', async () => {
  assert.ok(['127.0.0.1', '::1'].includes(await resolveHost('localhost')));
});

test('should have the receive buffer that was asked for, where the system grants it', async () => {
  const bytes = 65_536;
  const transport = await UdpTransport.open({ host: '127.0.0.1', port: 0, receiveBufferBytes: bytes });
  const usual = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  // Every Linux grants so little; what it reports is halved again, since it counts its own bookkeeping, too.
  assert.equal(transport.receiveBufferBytes, bytes);
  assert.ok(usual.receiveBufferBytes > bytes);
  await Promise.all([transport.close(), usual.close()]);
});
