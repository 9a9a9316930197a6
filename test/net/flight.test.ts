import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Flight } from '../../net/flight.ts';
import {
  BULK_RESERVE_PART,
  BURST_REST_MS_MAX,
  BURST_SHARES_MAX,
  CREDIT_AGE_MS,
  CREDIT_BYTES_MIN,
  CREDIT_OLD_PART,
  DATAGRAM_RECORD_BYTES,
  FLIGHT_PACKETS_MAX,
  FLIGHT_TIMEOUT_MS_MAX,
  FLIGHT_TIMEOUT_MS_MIN,
} from '../../net/limits.ts';

/** What a datagram takes, the receiver's record included, and its payload. */
const COST = 2_000;
const DATAGRAM = COST - DATAGRAM_RECORD_BYTES;
const CREDIT = 10 * COST;
/** What a datagram carries whose sender has received nothing. */
const NONE_RECEIVED = 0xffff_ffff;

function flightWith(sentCount: number, firstNumber = 0): Flight {
  const flight = new Flight(CREDIT, DATAGRAM, 0);
  for (let i = 0; i < sentCount; i++) flight.onSent(firstNumber + i, DATAGRAM, 0);
  return flight;
}

function allows(flight: Flight, byteCount: number, nowMs: number): boolean {
  return flight.roomBytes(byteCount, nowMs) >= byteCount;
}

test('should hold a sender within the credit, and let it on as answers come', () => {
  const flight = flightWith(10);
  assert.equal(flight.inFlightBytes, CREDIT);
  assert.equal(allows(flight, 8, 1), false);
  flight.onAcknowledged(3, 1);
  assert.equal(flight.inFlightBytes, 6 * COST);
  assert.equal(flight.roomBytes(8, 1), 4 * COST - DATAGRAM_RECORD_BYTES);
});

test("should count what the receiver's kernel adds to a datagram, however small it is", () => {
  const flight = new Flight(CREDIT, DATAGRAM, 0);
  let sent = 0;
  for (; allows(flight, 8, 0); sent++) flight.onSent(sent, 8, 0);
  assert.equal(sent, Math.floor(CREDIT / (8 + DATAGRAM_RECORD_BYTES)));
});

test('should always allow one datagram, however small the credit and however large the datagram', () => {
  for (const credit of [0, 1, CREDIT_BYTES_MIN, CREDIT]) {
    const flight = new Flight(credit, DATAGRAM, 0);
    assert.equal(allows(flight, 60_000, 0), true);
    flight.onSent(0, 60_000, 0);
    assert.equal(allows(flight, 8, 0), false);
  }
});

test('should not take as lost what it has just sent, though what it sent long ago is unanswered', () => {
  const flight = new Flight(CREDIT, DATAGRAM, 0);
  flight.onSent(0, 8, 0);
  const laterMs = 10 * FLIGHT_TIMEOUT_MS_MIN;
  let sent = 1;
  for (; allows(flight, DATAGRAM, laterMs); sent++) flight.onSent(sent, DATAGRAM, laterMs);
  assert.equal(sent, 10);
  assert.equal(allows(flight, DATAGRAM, laterMs + FLIGHT_TIMEOUT_MS_MIN - 1), false);
  assert.equal(allows(flight, DATAGRAM, laterMs + FLIGHT_TIMEOUT_MS_MIN), true);
});

test('should keep to what the receiver grants from now on, and grow to it as answers come', () => {
  const flight = flightWith(2);
  flight.onGranted(3 * COST, 1);
  assert.equal(flight.limitBytes, 3 * COST);
  assert.equal(allows(flight, DATAGRAM, 1), true);
  assert.equal(allows(flight, DATAGRAM + 1, 1), false);
  flight.onGranted(5 * COST, 2);
  assert.equal(flight.limitBytes, 3 * COST, 'nothing has shown that there is room yet');
  flight.onAcknowledged(1, 2);
  assert.equal(flight.limitBytes, 5 * COST);
});

test('should not be starved by a grant, whatever it says', () => {
  const flight = flightWith(0);
  for (const granted of [0, 1]) {
    flight.onGranted(granted, 1);
    assert.equal(flight.limitBytes, CREDIT_BYTES_MIN);
  }
});

test('should trust an old grant in part only: the receiver has counted on others', () => {
  const flight = flightWith(0);
  assert.equal(flight.roomBytes(8, CREDIT_AGE_MS), CREDIT - DATAGRAM_RECORD_BYTES);
  assert.equal(flight.roomBytes(8, CREDIT_AGE_MS + 1), CREDIT * CREDIT_OLD_PART - DATAGRAM_RECORD_BYTES);
  flight.onGranted(CREDIT, CREDIT_AGE_MS + 1);
  flight.onSent(0, DATAGRAM, CREDIT_AGE_MS + 1);
  flight.onAcknowledged(0, CREDIT_AGE_MS + 1);
  assert.equal(flight.limitBytes, CREDIT * CREDIT_OLD_PART + COST);
});

test('should take an acknowledgement for all that was sent before it', () => {
  const flight = flightWith(8);
  flight.onAcknowledged(7, 1);
  assert.equal(flight.inFlightBytes, 0);
});

test('should not be moved by acknowledgements that are old, of nothing, or of what was never sent', () => {
  const flight = flightWith(8);
  flight.onAcknowledged(5, 1);
  const bytes = flight.inFlightBytes;
  for (const largest of [5, 4, 0, NONE_RECEIVED, 8, 9, 1_000, 0x8000_0000]) {
    flight.onAcknowledged(largest, 2);
    assert.equal(flight.inFlightBytes, bytes, `${largest}`);
  }
  const fresh = new Flight(CREDIT, DATAGRAM, 0);
  fresh.onAcknowledged(NONE_RECEIVED, 0);
  fresh.onAcknowledged(0, 0);
  assert.equal(fresh.inFlightBytes, 0);
});

test('should know packet numbers beyond 32 bits by their low half', () => {
  const first = 2 ** 32 - 4;
  const flight = flightWith(8, first);
  flight.onAcknowledged((first + 5) % 2 ** 32, 1);
  assert.equal(flight.inFlightBytes, 2 * COST);
});

test('should give up what is in flight after a time without progress, halve its limit, and wait twice as long next', () => {
  const flight = flightWith(10);
  assert.equal(allows(flight, DATAGRAM, FLIGHT_TIMEOUT_MS_MIN - 1), false);
  assert.equal(allows(flight, DATAGRAM, FLIGHT_TIMEOUT_MS_MIN), true);
  assert.equal(flight.inFlightBytes, 0);
  assert.equal(flight.limitBytes, CREDIT / 2);
  let nowMs = FLIGHT_TIMEOUT_MS_MIN;
  for (let i = 10; i < 15; i++) flight.onSent(i, DATAGRAM, nowMs);
  assert.equal(allows(flight, DATAGRAM, nowMs + 2 * FLIGHT_TIMEOUT_MS_MIN - 1), false);
  nowMs += 2 * FLIGHT_TIMEOUT_MS_MIN;
  assert.equal(allows(flight, DATAGRAM, nowMs), true);
  assert.equal(flight.limitBytes, CREDIT / 4);
});

test('should give up also when there is room for less than is to be sent', () => {
  const flight = flightWith(9);
  assert.equal(allows(flight, DATAGRAM + 1, FLIGHT_TIMEOUT_MS_MIN - 1), false);
  assert.equal(allows(flight, DATAGRAM + 1, FLIGHT_TIMEOUT_MS_MIN), true);
});

test('should never wait longer than the maximum nor fall below the smallest credit', () => {
  const flight = flightWith(10);
  let nowMs = 0;
  let number = 10;
  for (let i = 0; i < 30; i++) {
    nowMs += FLIGHT_TIMEOUT_MS_MAX;
    assert.equal(allows(flight, DATAGRAM, nowMs), true);
    assert.ok(flight.limitBytes >= CREDIT_BYTES_MIN);
    while (allows(flight, DATAGRAM, nowMs)) flight.onSent(number++, DATAGRAM, nowMs);
  }
  assert.equal(flight.limitBytes, CREDIT_BYTES_MIN);
});

test('should grow back to the credit as answers come, not beyond', () => {
  const flight = flightWith(10);
  flight.roomBytes(DATAGRAM, FLIGHT_TIMEOUT_MS_MIN);
  assert.equal(flight.limitBytes, CREDIT / 2);
  for (let number = 10; number < 30; number++) {
    flight.onSent(number, DATAGRAM, 100);
    flight.onAcknowledged(number, 100);
    assert.ok(flight.limitBytes <= CREDIT);
  }
  assert.equal(flight.limitBytes, CREDIT);
});

test('should remember no more packets than its ring holds', () => {
  const flight = new Flight(1e9, DATAGRAM, 0);
  let sent = 0;
  while (allows(flight, 8, 0)) flight.onSent(sent++, 8, 0);
  assert.ok(sent < FLIGHT_PACKETS_MAX && sent > FLIGHT_PACKETS_MAX - 10);
  flight.onAcknowledged(0, 0);
  assert.equal(flight.inFlightBytes, (sent - 1) * (8 + DATAGRAM_RECORD_BYTES));
});

test('should count exactly what was sent and not yet acknowledged or given up', () => {
  const moves = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('send'), bytes: fc.integer({ min: 8, max: DATAGRAM }) }),
      fc.record({ kind: fc.constant('acknowledge'), behind: fc.nat(20) }),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(moves, fc.constantFrom(0, 2 ** 32 - 30), (list, first) => {
      const flight = new Flight(CREDIT, DATAGRAM, 0);
      const costs: number[] = [];
      let goneCount = 0;
      for (const move of list) {
        if ('bytes' in move) {
          // No time passes: nothing is given up.
          if (!allows(flight, move.bytes, 0)) continue;
          flight.onSent(first + costs.length, move.bytes, 0);
          costs.push(move.bytes + DATAGRAM_RECORD_BYTES);
        } else {
          const place = costs.length - 1 - move.behind;
          if (place < 0) continue;
          flight.onAcknowledged((first + place) % 2 ** 32, 0);
          goneCount = Math.max(goneCount, place + 1);
        }
        const expected = costs.slice(goneCount).reduce((sum, bytes) => sum + bytes, 0);
        assert.equal(flight.inFlightBytes, expected);
        assert.ok(expected <= CREDIT);
      }
    }),
  );
});

test('should halve once for what is lost in one flight, and again for what is lost after that', () => {
  const flight = flightWith(6);
  flight.onAcknowledged(1, 1);
  flight.onLost();
  assert.equal(flight.limitBytes, CREDIT / 2);
  flight.onAcknowledged(5, 2);
  const grownBytes = flight.limitBytes;
  flight.onLost();
  assert.equal(flight.limitBytes, grownBytes, 'all of it was sent before the loss was noticed');
  flight.onSent(6, DATAGRAM, 3);
  flight.onAcknowledged(6, 4);
  const limitBytes = flight.limitBytes;
  flight.onLost();
  assert.equal(flight.limitBytes, limitBytes / 2);
});

test('should grow by a datagram in what is in flight once something was lost', () => {
  const flight = flightWith(5);
  flight.onAcknowledged(0, 1);
  flight.onLost();
  const limitBytes = flight.limitBytes;
  flight.onAcknowledged(2, 2);
  assert.ok(Math.abs(flight.limitBytes - limitBytes - (2 * COST * DATAGRAM) / limitBytes) < 1e-6);
});

test('should grow fast again up to where the last loss was', () => {
  const flight = flightWith(10);
  flight.onAcknowledged(0, 1);
  flight.onLost();
  flight.roomBytes(8, FLIGHT_TIMEOUT_MS_MIN + 1);
  assert.equal(flight.limitBytes, CREDIT / 4);
  for (let number = 10; flight.limitBytes < CREDIT / 2; number++) {
    flight.onSent(number, DATAGRAM, 50);
    const before = flight.limitBytes;
    flight.onAcknowledged(number, 50);
    assert.equal(flight.limitBytes, before + COST);
  }
});

test('should leave a quarter of the credit to small messages', () => {
  const flight = flightWith(0);
  let sent = 0;
  for (; flight.roomBytes(DATAGRAM, 0, true) >= DATAGRAM; sent++) flight.onSent(sent, DATAGRAM, 0);
  assert.equal(sent, Math.floor((CREDIT * (1 - BULK_RESERVE_PART)) / COST));
  assert.equal(allows(flight, DATAGRAM, 0), true);
});

/** A sender whose share is a part of a datagram, after so many answers. */
function sharing(answerCount: number): Flight {
  const flight = new Flight(COST, 20 * COST, 0);
  for (let number = 0; number < answerCount; number++) {
    flight.onSent(number, DATAGRAM, 0);
    flight.onAcknowledged(number, 0);
  }
  return flight;
}

test('should let a datagram take more than a small share at once, the more the longer nothing is lost', () => {
  for (const [answerCount, shares] of [
    [0, 1],
    [1, 2],
    [3, 4],
    [BURST_SHARES_MAX, BURST_SHARES_MAX],
    [40, BURST_SHARES_MAX],
  ] as const) {
    assert.equal(sharing(answerCount).roomBytes(8, 0), shares * COST - DATAGRAM_RECORD_BYTES, `${answerCount}`);
  }
});

test('should rest after such a datagram, so that in flight is the share on average', () => {
  const flight = sharing(40);
  const sentMs = 10;
  flight.onSent(40, 5 * COST - DATAGRAM_RECORD_BYTES, sentMs);
  const acknowledgedMs = sentMs + 2;
  flight.onAcknowledged(40, acknowledgedMs);
  const restEndMs = sentMs + 5 * 2;
  assert.equal(flight.roomAtMs(acknowledgedMs), Infinity, 'nobody waits');
  assert.equal(allows(flight, 8, acknowledgedMs), false);
  assert.equal(flight.roomAtMs(acknowledgedMs), restEndMs);
  assert.equal(allows(flight, 8, restEndMs - 0.01), false);
  assert.equal(allows(flight, 8, restEndMs), true);
  assert.equal(flight.roomAtMs(restEndMs), Infinity);
});

test('should tell when what it refused can go, though no answer comes any more', () => {
  const flight = sharing(40);
  flight.onSent(40, 5 * COST - DATAGRAM_RECORD_BYTES, 10);
  assert.equal(flight.roomAtMs(11), Infinity, 'nobody waits');
  assert.equal(allows(flight, 8, 11), false);
  assert.equal(flight.roomAtMs(11), 10 + FLIGHT_TIMEOUT_MS_MIN);
  assert.equal(allows(flight, 8, 10 + FLIGHT_TIMEOUT_MS_MIN - 0.01), false);
  assert.equal(allows(flight, 8, 10 + FLIGHT_TIMEOUT_MS_MIN), true);
  assert.equal(flight.roomAtMs(10 + FLIGHT_TIMEOUT_MS_MIN), Infinity);
});

test('should not rest for longer than the bound, nor after a datagram within the share', () => {
  const flight = sharing(40);
  flight.onSent(40, DATAGRAM, 0);
  flight.onAcknowledged(40, 19);
  assert.equal(allows(flight, 8, 19), true);
  flight.onSent(41, 8 * COST, 20);
  flight.onAcknowledged(41, 1_020);
  assert.equal(allows(flight, 8, 1_020 + BURST_REST_MS_MAX - 0.01), false);
  assert.equal(allows(flight, 8, 1_020 + BURST_REST_MS_MAX), true);
});

test('should keep to its share after a loss', () => {
  const timedOut = sharing(40);
  timedOut.onSent(40, 8 * COST - DATAGRAM_RECORD_BYTES, 0);
  assert.equal(allows(timedOut, 8, FLIGHT_TIMEOUT_MS_MIN - 1), false);
  assert.equal(timedOut.roomBytes(8, FLIGHT_TIMEOUT_MS_MIN), timedOut.limitBytes - DATAGRAM_RECORD_BYTES);
  const overtaken = sharing(40);
  overtaken.onLost();
  assert.equal(overtaken.roomBytes(8, 0), overtaken.limitBytes - DATAGRAM_RECORD_BYTES);
});
