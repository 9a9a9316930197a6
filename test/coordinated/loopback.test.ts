import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignUp } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import { LOOPBACK_BYTES, Loopback } from '../../src/coordinated/loopback.ts';
import type { Messenger } from '../../src/protocol/messenger.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { memberPeer, MessageRecorder, sessionWith } from '../protocol/fixtures.ts';

/** A message in these tests is its number, so many times over, and a value of the same. */
interface Got {
  readonly numbers: number[];
  readonly values: Uint8Array[];
}

class LoopbackHarness {
  readonly remote = new MessageRecorder();
  readonly loopback: Loopback;
  epoch = 3;

  constructor() {
    this.loopback = new Loopback({
      remote: this.remote,
      peer: memberPeer(1),
      datagramBytes: 16_384,
      epoch: () => this.epoch,
    });
  }

  append(messenger: Messenger, number: number, controlBytes: number, valueBytes = 0): boolean {
    const { session } = this.loopback;
    if (!messenger.append(session, controlBytes, valueBytes)) return false;
    const { control, word, packet, valueWord } = messenger.out;
    control.words.fill(number, word, word + (controlBytes >> 2));
    packet.bytes.fill(number, valueWord * 4, valueWord * 4 + alignUp(valueBytes));
    return true;
  }

  /** What was handed over in each direction. */
  deliver(onRequest: (incoming: Incoming<Peer>) => void = () => {}): { requests: number[]; answers: Got[] } {
    const requests: number[] = [];
    const answers: Got[] = [];
    this.loopback.deliver(
      (incoming) => {
        requests.push(...controlOf(incoming));
        onRequest(incoming);
      },
      (incoming) => {
        const { region, valueWord, valueWordEnd } = incoming;
        assert.equal(incoming.session, this.loopback.session);
        assert.equal(incoming.epoch, this.epoch);
        // Not a copy: the coordinator keeps values where they came.
        answers.push({
          numbers: controlOf(incoming),
          values: [region.bytes.subarray(valueWord * 4, valueWordEnd * 4)],
        });
      },
    );
    return { requests, answers };
  }
}

function controlOf({ region, word, wordEnd }: Incoming<Peer>): number[] {
  return [...region.words.subarray(word, wordEnd)];
}

test('should hand requests to the replica and its answers to the coordinator, in order, and only when told to', () => {
  const harness = new LoopbackHarness();
  const { requests, answers } = harness.loopback;
  harness.append(requests, 1, 8);
  harness.append(requests, 2, 16, 5);
  assert.equal(harness.loopback.isEmpty, false);
  const got = harness.deliver(() => harness.append(answers, 9, 8));
  assert.deepEqual(got.requests, [1, 1, 2, 2, 2, 2]);
  assert.deepEqual(
    got.answers.map(({ numbers }) => numbers),
    [[9, 9]],
  );
  assert.equal(harness.loopback.isEmpty, true);
  assert.deepEqual(harness.deliver(), { requests: [], answers: [] });
});

test('should show the value part that belongs to the messages, padded', () => {
  const harness = new LoopbackHarness();
  harness.append(harness.loopback.requests, 7, 8, 13);
  harness.loopback.deliver(
    ({ region, valueWord, valueWordEnd }) => {
      assert.deepEqual([...region.bytes.subarray(valueWord * 4, valueWordEnd * 4)], Array(16).fill(7));
    },
    () => assert.fail('nothing was answered'),
  );
});

test('should send messages for others over the network', () => {
  const harness = new LoopbackHarness();
  const other = sessionWith(memberPeer(2), true);
  const { requests } = harness.loopback;
  harness.append(requests, 1, 8);
  assert.ok(requests.append(other, 24, 8));
  assert.equal(requests.out, harness.remote.out);
  requests.out.control.words.fill(5, requests.out.word, requests.out.word + 6);
  harness.append(requests, 2, 8);
  assert.deepEqual(
    harness.remote.sent.map(({ session, control }) => [session, [...control]]),
    [[other, [5, 5, 5, 5, 5, 5]]],
  );
  harness.remote.full = true;
  assert.equal(requests.append(other, 8, 0), false);
  assert.deepEqual(harness.deliver().requests, [1, 1, 2, 2]);
});

test('should let what comes of a message wait for the next call', () => {
  const harness = new LoopbackHarness();
  const { requests } = harness.loopback;
  harness.append(requests, 1, 8);
  const first = harness.deliver(() => harness.append(requests, 2, 8));
  assert.deepEqual(first.requests, [1, 1]);
  assert.deepEqual(harness.deliver().requests, [2, 2]);
});

test('should never write over a value that was handed to the coordinator', () => {
  const harness = new LoopbackHarness();
  const kept: { number: number; bytes: Uint8Array }[] = [];
  for (let number = 1; number < 100; number++) {
    const valueBytes = number % 10 === 0 ? 16_000 : number % 3 === 0 ? 0 : 500;
    for (let i = 0; i < 3; i++) harness.append(harness.loopback.answers, number, 48, valueBytes);
    for (const { values } of harness.deliver().answers) kept.push({ number, bytes: values[0]! });
  }
  assert.ok(kept.length >= 99);
  for (const { number, bytes } of kept) assert.ok(bytes.every((byte) => byte === number));
});

test('should take no more than its bound, lose the rest, and go on', () => {
  const harness = new LoopbackHarness();
  const { requests } = harness.loopback;
  let appended = 0;
  while (harness.append(requests, 1, 56, 16_000)) appended++;
  assert.ok(appended * 16_000 <= LOOPBACK_BYTES && appended > 10, `${appended}`);
  assert.equal(harness.deliver().requests.length, appended * 14);
  assert.ok(harness.append(requests, 1, 56, DATAGRAM_BYTES_MAX - 200), 'a message of any size that a datagram has');
  assert.equal(harness.deliver().requests.length, 14);
  let small = 0;
  while (harness.append(requests, 2, 80)) small++;
  assert.equal(harness.deliver().requests.length, small * 20);
});
