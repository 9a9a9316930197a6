/** The message layer over a sealing that completes late and in any order, as workers will. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RENEW_AFTER_MS, SEND_SLOTS } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { seededBytes, seededRandom } from '../workers/random.ts';
import { ReorderingSealing } from '../workers/reordering-sealing.ts';
import { connectPair } from './endpoint-harness.ts';
import type { EndOptions } from './endpoint-harness.ts';

for (const mode of SECURITY_MODES) {
  const options: EndOptions = {
    mode,
    receiveBufferBytes: 10_000_000,
    wrapSealing: (sealing) => new ReorderingSealing(sealing, seededRandom(11)),
  };

  describe(`in mode ${mode}`, () => {
    test('should carry every message, whole, though datagrams are sealed and opened late and out of order', () => {
      const { world, a, b, session } = connectPair(options);
      b.onMessage = ({ session: from, number, value }) => assert.ok(b.send(from, number, value));
      for (let number = 0; number < 400; number++) {
        assert.ok(a.send(session, number, seededBytes(number % 300, number)));
        if (number % 3 === 0) world.step();
      }
      world.run(60);
      for (const end of [a, b]) {
        assert.deepEqual(
          [...end.numbers].sort((x, y) => x - y),
          Array.from({ length: 400 }, (_, i) => i),
        );
        for (const { number, value } of end.received) assert.deepEqual(value, seededBytes(number % 300, number));
      }
      assert.notDeepEqual(
        b.numbers,
        a.numbers.toSorted((x, y) => x - y),
        'they did come out of order',
      );
    });

    test('should renew and retire sessions that still have jobs at the sealing', () => {
      const { world, a, b, link, session } = connectPair(options);
      b.onMessage = ({ session: from, number }) => b.send(from, number);
      world.nowMs = session.createdMs + RENEW_AFTER_MS - 50;
      for (let number = 0; number < 6_500; number++) {
        assert.ok(a.send(link.session!, number));
        world.step();
      }
      world.run(60);
      assert.equal(a.numbers.length, 6_500);
      assert.notEqual(link.session, session);
      for (const end of [a, b]) assert.equal(end.keys.size, mode === 'plaintext' ? 0 : 2);
    });

    test('should give every slot and key back when sessions end in the middle of jobs', () => {
      const { world, a, b, session } = connectPair(options);
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 10; i++) a.send(session, i, new Uint8Array(1_300));
        world.step();
      }
      for (let i = 0; i < 10; i++) a.send(session, i, new Uint8Array(1_300));
      a.endpoint.close();
      b.endpoint.close();
      world.run(60);
      assert.equal(a.keys.size + b.keys.size, 0);
      // All slots are free again: a new session can have every one of them.
      const again = a.linkTo(b);
      world.until(() => b.live.length === 2);
      world.run(60);
      a.transport.stalled = true;
      let sentCount = 0;
      while (a.send(again.session!, 0, new Uint8Array(1_300))) sentCount++;
      assert.equal(sentCount, SEND_SLOTS);
    });
  });
}
