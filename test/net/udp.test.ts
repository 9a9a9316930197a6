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

test('should give the memory of a datagram back to the system, unless others lie in it', async () => {
  const transport = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  const whole = new Uint8Array(8_192);
  const { buffer } = whole;
  const part = new Uint8Array(new ArrayBuffer(8_192), 0, 4_096);
  const shared = new Uint8Array(new SharedArrayBuffer(8_192));
  for (const datagram of [whole, part, shared]) transport.release(datagram);
  assert.deepEqual([whole.length, buffer.byteLength, part.length, shared.length], [0, 0, 4_096, 8_192]);
  await transport.close();
});
