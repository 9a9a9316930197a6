import assert from 'node:assert/strict';
import { test } from 'node:test';
import { overflowsOf } from '../../bench/udp-sockets.ts';
import { UdpTransport } from '../../net/udp.ts';

const skip = process.platform === 'linux' ? false : 'only Linux tells';
const LOOPBACK = '127.0.0.1';
const BUFFER_BYTES = 65_536;
const DATAGRAM = new Uint8Array(8_192);
const SENT = 64;

test('datagrams that a full receive buffer loses are counted, those that are read are not', { skip }, async () => {
  const receiver = await UdpTransport.open({ host: LOOPBACK, port: 0, receiveBufferBytes: BUFFER_BYTES });
  const sender = await UdpTransport.open({ host: LOOPBACK, port: 0 });
  const before = overflowsOf([process.pid])!;
  let left = SENT;
  const allSent = new Promise<void>((resolve) => {
    sender.start({ onDatagram: () => {}, onSent: () => --left === 0 && resolve() });
  });
  // Nobody reads meanwhile: all are handed to the kernel before this turn of the loop ends.
  for (let i = 0; i < SENT; i++) sender.send(i, DATAGRAM, DATAGRAM.length, LOOPBACK, receiver.port);
  await allSent;
  const lost = overflowsOf([process.pid])! - before;
  let received = 0;
  receiver.start({ onDatagram: () => received++, onSent: () => {} });
  while (received < SENT - lost) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(lost > 0 && lost < SENT, `${lost} of ${SENT}`);
  await Promise.all([receiver.close(), sender.close()]);
  assert.equal(overflowsOf([process.pid]), undefined, 'no socket, no count');
});
