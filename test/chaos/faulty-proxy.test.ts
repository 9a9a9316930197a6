import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { CALM } from '../../bench/chaos/faulty-channel.ts';
import { FaultyProxy } from '../../bench/chaos/faulty-proxy.ts';
import { UdpTransport } from '../../net/udp.ts';
import { until } from '../processes/until.ts';

/** A proxy over real sockets, between two peers and something that sends back what it gets, as a replica would answer. */
const LOOPBACK = '127.0.0.1';
const open: { close(): Promise<void> }[] = [];
after(async () => {
  for (const thing of open) await thing.close();
});

interface Received {
  readonly text: string;
  readonly port: number;
}

class Socket {
  readonly transport: UdpTransport;
  readonly received: Received[] = [];
  onReceived: (received: Received) => void = () => {};

  private constructor(transport: UdpTransport) {
    this.transport = transport;
    open.push(transport);
    transport.start({
      onDatagram: (datagram, _host, port) => {
        const received = { text: Buffer.from(datagram).toString(), port };
        this.received.push(received);
        this.onReceived(received);
      },
      onSent: () => {},
    });
  }

  static async open(): Promise<Socket> {
    return new Socket(await UdpTransport.open({ host: LOOPBACK, port: 0 }));
  }

  send(text: string, port: number): void {
    const datagram = Buffer.from(text);
    this.transport.send(0, datagram, datagram.length, LOOPBACK, port);
  }

  get texts(): string[] {
    return this.received.map(({ text }) => text);
  }
}

async function proxyBeforeEcho(): Promise<{ proxy: FaultyProxy; replica: Socket }> {
  const replica = await Socket.open();
  replica.onReceived = ({ text, port }) => replica.send(`${text}!`, port);
  const proxy = await FaultyProxy.open({ replicaPort: replica.transport.port, seed: 1, index: 0 });
  open.push(proxy);
  return { proxy, replica };
}

test('each peer has one address at the replica, and sees the proxy’s alone', async () => {
  const { proxy, replica } = await proxyBeforeEcho();
  const peers = [await Socket.open(), await Socket.open()];
  for (const round of [1, 2, 3]) {
    for (const [i, peer] of peers.entries()) peer.send(`${i}-${round}`, proxy.port);
    await until(() => peers.every((peer) => peer.received.length === round), 'the answers');
  }
  for (const [i, peer] of peers.entries()) {
    assert.deepEqual(peer.texts, [`${i}-1!`, `${i}-2!`, `${i}-3!`], 'its own answers, and no one else’s');
    assert.deepEqual(new Set(peer.received.map(({ port }) => port)), new Set([proxy.port]));
  }
  const portsOf = (i: number): Set<number> =>
    new Set(replica.received.filter(({ text }) => text.startsWith(`${i}-`)).map(({ port }) => port));
  assert.equal(portsOf(0).size, 1);
  assert.equal(portsOf(1).size, 1);
  assert.notDeepEqual(portsOf(0), portsOf(1));
  assert.equal(proxy.counters.in.received, 6);
  assert.equal(proxy.counters.out.received, 6);
});

test('the two directions have conditions and counters of their own', async () => {
  const { proxy, replica } = await proxyBeforeEcho();
  const peer = await Socket.open();
  proxy.set('out', { ...CALM, loss: 1 });
  for (let i = 0; i < 10; i++) peer.send(`mute ${i}`, proxy.port);
  await until(() => proxy.counters.out.dropped === 10, 'the answers to be dropped');
  assert.equal(replica.received.length, 10, 'the way there is open');
  proxy.set('out', CALM);
  proxy.set('in', { ...CALM, loss: 1 });
  for (let i = 0; i < 10; i++) peer.send(`deaf ${i}`, proxy.port);
  await until(() => proxy.counters.in.dropped === 10, 'the requests to be dropped');
  proxy.set('in', CALM);
  peer.send('well', proxy.port);
  await until(() => peer.received.length > 0, 'an answer');
  assert.deepEqual(peer.texts, ['well!']);
  assert.equal(proxy.counters.in.received, 21);
  assert.equal(proxy.counters.out.received, 11);
});

test('over real sockets datagrams are doubled and changed as the counters say', async () => {
  const { proxy, replica } = await proxyBeforeEcho();
  const peer = await Socket.open();
  proxy.set('in', { ...CALM, duplicate: 1, corrupt: 0.5 });
  for (let i = 0; i < 20; i++) peer.send('a datagram', proxy.port);
  await until(() => replica.received.length === 40, 'each datagram to come twice');
  assert.equal(proxy.counters.in.duplicated, 20);
  const changed = replica.texts.filter((text) => text !== 'a datagram').length;
  assert.equal(changed, proxy.counters.in.corrupted);
  assert(changed > 5 && changed < 35);
});

test('peers beyond the bound are not let through, and counted; those before them are served on', async () => {
  const { proxy } = await proxyBeforeEcho();
  const peers: Socket[] = [];
  for (let i = 0; i < 128; i++) peers.push(await Socket.open());
  for (const peer of peers) peer.send('early', proxy.port);
  await until(() => peers.every(({ received }) => received.length === 1), 'an answer for each');
  const late = await Socket.open();
  late.send('late', proxy.port);
  await until(() => proxy.counters.in.overflowed === 1, 'the late one to be counted');
  peers[0]!.send('again', proxy.port);
  await until(() => peers[0]!.received.length === 2, 'an answer');
  assert.deepEqual(late.received, []);
});
