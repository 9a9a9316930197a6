import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Flight } from '../../net/flight.ts';
import { FLIGHT_PACKETS_MAX, FLIGHT_TIMEOUT_MS_MAX, FLIGHT_TIMEOUT_MS_MIN } from '../../net/limits.ts';

const DATAGRAM = 1_000;
const CREDIT = 10_000;
/** What a datagram carries whose sender has received nothing. */
const NONE_RECEIVED = 0xffff_ffff;

function flightWith(sentCount: number, firstNumber = 0): Flight {
  const flight = new Flight(CREDIT, DATAGRAM);
  for (let i = 0; i < sentCount; i++) flight.onSent(firstNumber + i, DATAGRAM, 0);
  return flight;
}

test('should hold a sender within the credit, and let it on as answers come', () => {
  const flight = flightWith(10);
  assert.equal(flight.inFlightBytes, CREDIT);
  assert.equal(flight.allows(DATAGRAM, 1), false);
  flight.onAcknowledged(3, 1);
  assert.equal(flight.inFlightBytes, 6 * DATAGRAM);
  assert.equal(flight.allows(4 * DATAGRAM, 1), true);
  assert.equal(flight.allows(4 * DATAGRAM + 1, 1), false);
});

test('should always allow one datagram, however small the credit', () => {
  for (const credit of [0, 1, DATAGRAM]) assert.equal(new Flight(credit, DATAGRAM).allows(DATAGRAM, 0), true);
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
  const fresh = new Flight(CREDIT, DATAGRAM);
  fresh.onAcknowledged(NONE_RECEIVED, 0);
  fresh.onAcknowledged(0, 0);
  assert.equal(fresh.inFlightBytes, 0);
});

test('should know packet numbers beyond 32 bits by their low half', () => {
  const first = 2 ** 32 - 4;
  const flight = flightWith(8, first);
  flight.onAcknowledged((first + 5) % 2 ** 32, 1);
  assert.equal(flight.inFlightBytes, 2 * DATAGRAM);
});

test('should give up what is in flight after a time without progress, halve its limit, and wait twice as long next', () => {
  const flight = flightWith(10);
  assert.equal(flight.allows(DATAGRAM, FLIGHT_TIMEOUT_MS_MIN - 1), false);
  assert.equal(flight.allows(DATAGRAM, FLIGHT_TIMEOUT_MS_MIN), true);
  assert.equal(flight.inFlightBytes, 0);
  assert.equal(flight.limitBytes, CREDIT / 2);
  let nowMs = FLIGHT_TIMEOUT_MS_MIN;
  for (let i = 10; i < 15; i++) flight.onSent(i, DATAGRAM, nowMs);
  assert.equal(flight.allows(DATAGRAM, nowMs + 2 * FLIGHT_TIMEOUT_MS_MIN - 1), false);
  nowMs += 2 * FLIGHT_TIMEOUT_MS_MIN;
  assert.equal(flight.allows(DATAGRAM, nowMs), true);
  assert.equal(flight.limitBytes, CREDIT / 4);
});

test('should never wait longer than the maximum nor fall below one datagram', () => {
  const flight = flightWith(10);
  let nowMs = 0;
  let number = 10;
  for (let i = 0; i < 30; i++) {
    nowMs += FLIGHT_TIMEOUT_MS_MAX;
    assert.equal(flight.allows(DATAGRAM, nowMs), true);
    assert.ok(flight.limitBytes >= DATAGRAM);
    while (flight.allows(DATAGRAM, nowMs)) flight.onSent(number++, DATAGRAM, nowMs);
  }
  assert.equal(flight.limitBytes, DATAGRAM);
});

test('should grow back to the credit as answers come, not beyond', () => {
  const flight = flightWith(10);
  flight.allows(DATAGRAM, FLIGHT_TIMEOUT_MS_MIN);
  assert.equal(flight.limitBytes, CREDIT / 2);
  for (let number = 10; number < 30; number++) {
    flight.onSent(number, DATAGRAM, 100);
    flight.onAcknowledged(number, 100);
    assert.ok(flight.limitBytes <= CREDIT);
  }
  assert.equal(flight.limitBytes, CREDIT);
});

test('should remember no more packets than its ring holds', () => {
  const flight = new Flight(1e9, DATAGRAM);
  let sent = 0;
  while (flight.allows(8, 0)) flight.onSent(sent++, 8, 0);
  assert.ok(sent < FLIGHT_PACKETS_MAX && sent > FLIGHT_PACKETS_MAX - 10);
  flight.onAcknowledged(0, 0);
  assert.equal(flight.inFlightBytes, (sent - 1) * 8);
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
      const flight = new Flight(CREDIT, DATAGRAM);
      const sizes: number[] = [];
      let goneCount = 0;
      for (const move of list) {
        if ('bytes' in move) {
          // No time passes: nothing is given up.
          if (!flight.allows(move.bytes, 0)) continue;
          flight.onSent(first + sizes.length, move.bytes, 0);
          sizes.push(move.bytes);
        } else {
          const place = sizes.length - 1 - move.behind;
          if (place < 0) continue;
          flight.onAcknowledged((first + place) % 2 ** 32, 0);
          goneCount = Math.max(goneCount, place + 1);
        }
        const expected = sizes.slice(goneCount).reduce((sum, bytes) => sum + bytes, 0);
        assert.equal(flight.inFlightBytes, expected);
        assert.ok(expected <= CREDIT);
      }
    }),
  );
});
