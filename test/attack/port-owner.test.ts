import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownerOfUdpPort } from '../../bench/attack/port-owner.ts';
import { UdpTransport } from '../../net/udp.ts';

const skip = process.platform === 'linux' ? false : 'only Linux tells';

test('the process that listens at a UDP port of this machine is found, while it does', { skip }, async () => {
  const transport = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  const { port } = transport;
  assert.equal(ownerOfUdpPort('127.0.0.1', port), process.pid);
  assert.equal(ownerOfUdpPort('192.0.2.1', port), undefined, 'the same port of another machine');
  assert.equal(ownerOfUdpPort('127.0.0.2', port), undefined, 'the same port of another address');
  await transport.close();
  assert.equal(ownerOfUdpPort('127.0.0.1', port), undefined);
});

test('one that listens at all addresses is found under each of them', { skip }, async () => {
  const transport = await UdpTransport.open({ host: '0.0.0.0', port: 0 });
  assert.equal(ownerOfUdpPort('127.0.0.1', transport.port), process.pid);
  await transport.close();
});
