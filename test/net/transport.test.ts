import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { UdpTransport } from '../../net/udp.ts';
import { seededRandom } from '../workers/random.ts';
import { MemoryNetwork, faultyRoute } from './memory-transport.ts';
import { transportContract } from './transport-contract.ts';

transportContract('UDP on loopback', () => ({
  open: () => UdpTransport.open({ host: '127.0.0.1', port: 0 }),
  openAgain: ({ host, port }) => UdpTransport.open({ host, port }),
  async until(condition) {
    // Generous: a busy machine must not fail it. Loopback takes a millisecond.
    for (let waitedMs = 0; !condition(); waitedMs += 2) {
      assert.ok(waitedMs < 10_000, 'it never happened');
      await sleep(2);
    }
  },
}));

transportContract('memory', () => {
  const network = new MemoryNetwork();
  let port = 7_000;
  let nowMs = 0;
  return {
    open: async () => network.open('10.0.0.1', port++),
    openAgain: async (transport) => network.open(transport.host, transport.port),
    async until(condition) {
      for (let rounds = 0; !condition(); rounds++) {
        assert.ok(rounds < 100, 'it never happened');
        network.deliver(nowMs++);
      }
    },
  };
});

test('should lose, double, delay and change about as many datagrams as it is told, the same ones each time', () => {
  const run = () => {
    const network = new MemoryNetwork();
    network.route = faultyRoute({
      random: seededRandom(3),
      loss: 0.2,
      duplicate: 0.1,
      mutate: 0.05,
      delayMsMax: 10,
    });
    const a = network.open('10.0.0.1', 1);
    const b = network.open('10.0.0.2', 1);
    a.start({ onDatagram() {}, onSent() {} });
    const heard: number[] = [];
    let changedCount = 0;
    b.start({
      onSent() {},
      onDatagram(bytes) {
        const number = new Uint32Array(bytes.buffer, 0, 2);
        if (number[0] === number[1]) heard.push(number[0]!);
        else changedCount++;
      },
    });
    for (let i = 0; i < 1_000; i++) {
      a.send(0, new Uint8Array(Uint32Array.of(i, i).buffer), 8, '10.0.0.2', 1);
      network.deliver(i);
    }
    network.deliver(2_000);
    return { heard, changedCount };
  };
  const { heard, changedCount } = run();
  assert.deepEqual(run().heard, heard);
  const distinct = new Set(heard).size;
  assert.ok(distinct > 700 && distinct < 820, `${distinct} of 1000 arrived`);
  assert.ok(heard.length - distinct > 40, 'some came twice');
  assert.ok(changedCount > 20 && changedCount < 100, `${changedCount} were changed`);
  assert.ok(
    heard.some((number, i) => i > 0 && number < heard[i - 1]!),
    'some were overtaken',
  );
});
