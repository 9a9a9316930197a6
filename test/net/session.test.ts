import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../../net/assert.ts';
import {
  REFUSE_AFTER_MS,
  REFUSE_AFTER_PACKETS,
  RENEW_AFTER_MS,
  RENEW_AFTER_PACKETS,
  SESSIONS_MAX,
} from '../../net/limits.ts';
import { Session, SessionTable } from '../../net/session.ts';

function make(index: number, nowMs = 0): Session<string> {
  return new Session<string>(index, 'half-open', '10.0.0.1', 7_000, 1_472, nowMs);
}

function addTo(table: SessionTable<string>): Session<string> | undefined {
  return table.add((index) => make(index));
}

test('should find a session by its index only, not by that of an earlier one in its place', () => {
  const table = new SessionTable<string>();
  const indexes = new Set<number>();
  let previous: Session<string> | undefined;
  for (let i = 0; i < 1_000; i++) {
    const session = addTo(table)!;
    assert.equal(table.find(session.index), session);
    if (previous !== undefined) assert.equal(table.find(previous.index), undefined);
    assert.ok(!indexes.has(session.index), 'no index comes again so soon');
    indexes.add(session.index);
    table.remove(session);
    assert.equal(table.find(session.index), undefined);
    previous = session;
  }
});

test('should give out indexes of 32 bits and come round after 2^20 generations of a place', () => {
  const table = new SessionTable<string>();
  // A million real sessions would take seconds; the table looks at the index only.
  const add = () => table.add((index) => ({ index }) as Session<string>)!;
  const first = add();
  table.remove(first);
  for (let generation = 1; generation < 2 ** 20; generation++) {
    const session = add();
    if (session.index === first.index || session.index < 0 || session.index > 0xffff_ffff) assert.fail('too early');
    table.remove(session);
  }
  assert.equal(add().index, first.index);
});

test('should hold so many sessions and no more', () => {
  const table = new SessionTable<string>();
  const sessions = Array.from({ length: SESSIONS_MAX }, () => addTo(table)!);
  assert.equal(table.count, SESSIONS_MAX);
  assert.equal(addTo(table), undefined);
  table.remove(sessions[77]!);
  assert.notEqual(addTo(table), undefined);
  assert.equal(addTo(table), undefined);
});

test('should find, count and list as a map does', () => {
  const moves = fc.array(fc.oneof(fc.constant(-1), fc.nat(20)), { maxLength: 60 });
  fc.assert(
    fc.property(moves, fc.array(fc.nat(0xffff_ffff), { maxLength: 10 }), (list, probes) => {
      const table = new SessionTable<string>();
      const model: Session<string>[] = [];
      for (const move of list) {
        if (move === -1) model.push(addTo(table)!);
        else if (model.length > 0) table.remove(model.splice(move % model.length, 1)[0]!);
        assert.equal(table.count, model.length);
        assert.deepEqual(new Set(table), new Set(model));
        for (const session of model) assert.equal(table.find(session.index), session);
        for (const index of probes) {
          assert.equal(
            table.find(index),
            model.find((session) => session.index === index),
          );
        }
      }
    }),
    { numRuns: 30 },
  );
});

test('should stop the process when a session is removed twice', () => {
  const table = new SessionTable<string>();
  const session = addTo(table)!;
  table.remove(session);
  assert.throws(() => table.remove(session), AssertionError);
});

test('should want renewal, and expire, by age or by packets', () => {
  const session = make(1, 1_000);
  assert.equal(session.needsRenewal(1_000 + RENEW_AFTER_MS - 1), false);
  assert.equal(session.needsRenewal(1_000 + RENEW_AFTER_MS), true);
  assert.equal(session.isExpired(1_000 + REFUSE_AFTER_MS - 1), false);
  assert.equal(session.isExpired(1_000 + REFUSE_AFTER_MS), true);
  session.sendNumber = RENEW_AFTER_PACKETS;
  assert.equal(session.needsRenewal(1_000), true);
  assert.equal(session.isExpired(1_000), false);
  session.sendNumber = REFUSE_AFTER_PACKETS;
  assert.equal(session.isExpired(1_000), true);
});

test('should keep to the smaller of both ends largest datagram', () => {
  for (const theirs of [1_200, 1_472, 9_000]) {
    const session = make(1);
    session.establish('peer', 9, { sendKey: 0, receiveKey: 1 }, 100_000, theirs);
    assert.equal(session.datagramBytesMax, Math.min(1_472, theirs));
  }
});

test('should know no peer before its handshake is done', () => {
  assert.throws(() => make(1).peer, AssertionError);
});
