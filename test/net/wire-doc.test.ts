/** docs/wire.md and the code say the same, as far as tables can be compared. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DROP_REASONS } from '../../net/drops.ts';
import * as limits from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import * as wire from '../../net/wire.ts';
import { CALL_DEADLINE_MS_MAX } from '../../src/coordinated/call-operations.ts';
import { CALL_OUTCOMES } from '../../src/coordinated/call-outcome.ts';
import { KEPT_BYTES } from '../../src/coordinated/kept-answers.ts';
import { STREAMS_MAX, STREAM_BYTES_MAX, STREAM_IDLE_MS } from '../../src/coordinated/call-table.ts';
import { RESOLVES_MAX, RESOLVES_PER_SESSION_MAX } from '../../src/coordinated/resolve-server.ts';
import * as callMessages from '../../src/protocol/call-messages.ts';
import { COUNTER_STEP_MAX } from '../../src/protocol/counter-guard.ts';
import * as countersMessage from '../../src/protocol/counters-message.ts';
import * as resolveMessages from '../../src/protocol/resolve-messages.ts';
import { IDLE_MS_MAX, ROOM, SMALL_ROOM } from '../../src/coordinated/call-parts-memory.ts';
import * as callPartMessages from '../../src/protocol/call-part-messages.ts';
import * as scanMessages from '../../src/protocol/scan-messages.ts';
import * as messages from '../../src/protocol/messages.ts';
import * as rmwMessages from '../../src/protocol/rmw-messages.ts';
import * as rmwPartMessages from '../../src/protocol/rmw-part-messages.ts';
import { STATE_KINDS } from '../../src/protocol/state-message.ts';
import { CERTIFICATE_BYTES_MAX, CERTIFICATE_BYTES_MIN } from '../../src/trust/certificate.ts';
import { GRANTS_MAX } from '../../src/trust/grants.ts';
import { KEY_PREFIX_BYTES_MAX } from '../../src/trust/key-prefix.ts';

const DOC = fileURLToPath(new URL('../../../docs/wire.md', import.meta.url));
const text = readFileSync(DOC, 'utf8');

/** Rows of the tables below a heading, up to the next one, cells without back quotes. */
function rowsOf(heading: string): string[][] {
  const start = text.indexOf(`\n## ${heading}\n`);
  assert.notEqual(start, -1, heading);
  const end = text.indexOf('\n## ', start + 1);
  return text
    .slice(start, end === -1 ? undefined : end)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .slice(2, -2)
        .split(' | ')
        .map((cell) => cell.replaceAll('`', '').trim()),
    );
}

function numbersOf(names: Record<string, unknown>, prefix: string): [string, string][] {
  return Object.entries(names)
    .filter(([name, value]) => name.startsWith(prefix) && typeof value === 'number')
    .map(([name, value]) => [String(value), name.slice(prefix.length)]);
}

test('should list every reason to drop, in the order of the code', () => {
  const listed = rowsOf('Drop reasons').map(([reason]) => reason);
  assert.deepEqual(listed.slice(1), [...DROP_REASONS]);
});

test('should list the modes by their bytes', () => {
  assert.deepEqual(
    rowsOf('Modes')
      .slice(1)
      .map(([byte, mode]) => [Number(byte), mode]),
    SECURITY_MODES.map((mode, i) => [i, mode]),
  );
});

test('should list every kind of datagram and every reason of a hint', () => {
  const rows = rowsOf('Datagrams');
  for (const [number, name] of numbersOf(wire, 'KIND_')) {
    assert.ok(
      rows.some((row) => row[0] === number && row[1] === name),
      `${number} ${name}`,
    );
  }
  wire.HINT_REASONS.forEach((reason, i) => {
    assert.ok(
      rows.some((row) => row[0] === String(i) && row[1] === reason),
      reason,
    );
  });
});

test('should list every message, flag and state', () => {
  const rows = rowsOf('Messages');
  const types = [
    messages,
    callMessages,
    callPartMessages,
    resolveMessages,
    countersMessage,
    scanMessages,
    rmwMessages,
    rmwPartMessages,
  ].flatMap((names) => numbersOf(names, 'MESSAGE_'));
  for (const [number, name] of [
    ...types,
    ...numbersOf(messages, 'FLAG_'),
    ...numbersOf(countersMessage, 'FLAG_'),
    ...numbersOf(scanMessages, 'FLAG_'),
    ...numbersOf(rmwMessages, 'FLAG_'),
  ]) {
    assert.ok(
      rows.some((row) => row[0] === number && row[1] === name),
      `${number} ${name}`,
    );
  }
  const states = STATE_KINDS.map((state, i) => `${i} ${state}`).join(', ');
  assert.ok(
    rows.some((row) => row[2] === `state: ${states}`),
    states,
  );
});

test('should number every outcome of a call', () => {
  const outcomes = CALL_OUTCOMES.map((outcome, i) => `${i} ${outcome}`).join(', ');
  assert.ok(text.replaceAll('\n', ' ').includes(`how the call ended: ${outcomes}:`), outcomes);
});

test('should name every limit that the other end can notice, as the code has it', () => {
  const said = (value: number) => value.toLocaleString('en-US');
  for (const [name, phrase] of [
    ['WIRE_VERSION', `# The wire, version ${limits.WIRE_VERSION}\n`],
    ['DATAGRAM_BYTES_MIN', `${said(limits.DATAGRAM_BYTES_MIN)} to ${said(limits.DATAGRAM_BYTES_MAX)} bytes`],
    [
      'DATAGRAM_BYTES_ETHERNET',
      `by default ${said(limits.DATAGRAM_BYTES_ETHERNET)}, on loopback ${said(limits.DATAGRAM_BYTES_LOOPBACK)}`,
    ],
    ['SESSIONS_MAX', `| sessions of one process | ${said(limits.SESSIONS_MAX)}`],
    ['EVICT_IDLE_MS', `if that is ${limits.EVICT_IDLE_MS / 1_000} s or more`],
    [
      'HALF_OPEN_MAX',
      `| ${limits.HALF_OPEN_MAX}, ${limits.HALF_OPEN_PER_HOST_MAX} of one host, ${limits.HALF_OPEN_TIMEOUT_MS / 1_000} s each |`,
    ],
    [
      'PROVED_HANDSHAKES_MAX',
      `| ${limits.COOKIE_HANDSHAKES_MIN} at once, after a second without any, without a cookie, ${limits.PROVED_HANDSHAKES_MAX} at once and each ${limits.COOKIE_INTERVAL_MS} ms with one, ${limits.HANDSHAKES_PER_HOST_MAX} of these of one host |`,
    ],
    [
      'COOKIE_HALF_OPEN_MIN',
      `while ${limits.COOKIE_HALF_OPEN_MIN} or more sessions are half-open, or when ${limits.COOKIE_HANDSHAKES_MIN} handshakes`,
    ],
    ['COOKIE_SECRET_MS', `under a secret that lives ${limits.COOKIE_SECRET_MS / 1_000} s`],
    ['HINTS_MAX', `| hints | ${limits.HINTS_MAX} each ${said(limits.HINTS_INTERVAL_MS)} ms |`],
    ['RECEIVE_SLOTS', `| datagrams received and not yet handled | ${said(limits.RECEIVE_SLOTS)} |`],
    ['GRANTED_PARTS_MAX', `parts that are granted, at most ${messages.GRANTED_PARTS_MAX};`],
    ['SEND_SLOTS', `| datagrams being sent | ${limits.SEND_SLOTS} |`],
    ['FLIGHT_PACKETS_MAX', `| packets in flight that are told apart | ${said(limits.FLIGHT_PACKETS_MAX)} |`],
    [
      'RENEW_AFTER_MS',
      `| ${limits.RENEW_AFTER_MS / 1_000} s after its REQUEST, or 2^${Math.log2(limits.RENEW_AFTER_PACKETS)} packets sent |`,
    ],
    [
      'REFUSE_AFTER_MS',
      `| ${limits.REFUSE_AFTER_MS / 1_000} s old, 2^32 + 2^${Math.log2(limits.REFUSE_AFTER_PACKETS - 2 ** 32)} packets sent, or 2^${Math.log2(limits.FORGERIES_MAX)} packets that failed to open |`,
    ],
    ['RETIRE_GRACE_MS', `for ${limits.RETIRE_GRACE_MS / 1_000} s |`],
    ['REPLAY_WINDOW_PACKETS', `the ${said(limits.REPLAY_WINDOW_PACKETS)} numbers up to the largest received`],
    [
      'HANDSHAKE_RETRY_MS_MIN',
      `after ${limits.HANDSHAKE_RETRY_MS_MIN} ms, then after twice as long each time, up to ${limits.HANDSHAKE_RETRY_MS_MAX / 1_000} s`,
    ],
    ['HANDSHAKE_GIVE_UP_MS', `after ${limits.HANDSHAKE_GIVE_UP_MS / 1_000} s it begins anew`],
    ['SILENCE_MS', `nothing came for ${limits.SILENCE_MS / 1_000} s`],
    ['ACKNOWLEDGE_AFTER_MS', `nothing was sent for ${limits.ACKNOWLEDGE_AFTER_MS} ms`],
    [
      'FLIGHT_TIMEOUT_MS_MIN',
      `Nothing acknowledged for ${limits.FLIGHT_TIMEOUT_MS_MIN} ms (doubling up to ${limits.FLIGHT_TIMEOUT_MS_MAX / 1_000} s)`,
    ],
    ['BURST_SHARES_MAX', `(at most ${limits.BURST_SHARES_MAX};`],
    ['BURST_REST_MS_MAX', `a rest, ${limits.BURST_REST_MS_MAX} ms at most,`],
    ['KEY_BYTES_MAX', `| key | 1 to ${said(messages.KEY_BYTES_MAX)} bytes |`],
    ['RING_COUNT', `of the last ${rmwMessages.RING_COUNT} slots`],
    [
      'RESOLVES_MAX',
      `| RESOLVEs under way in a replica | ${RESOLVES_MAX}, of one session ${RESOLVES_PER_SESSION_MAX} |`,
    ],
    ['COUNTER_STEP_MAX', `by 2^${Math.log2(COUNTER_STEP_MAX)} a second`],
    ['SCAN_ENTRIES_MAX', `| entries of a SCAN | ${said(scanMessages.SCAN_ENTRIES_MAX)} |`],
    ['GRANTS_MAX', `| ${GRANTS_MAX}, with prefixes of up to ${KEY_PREFIX_BYTES_MAX} bytes |`],
    ['CERTIFICATE_BYTES', `| ${CERTIFICATE_BYTES_MIN} to ${CERTIFICATE_BYTES_MAX} | certificate |`],
    ['MEMBERS_MAX', `| members | ${messages.MEMBERS_MAX} |`],
    ['STREAMS_MAX', `| streams of calls in a replica | ${STREAMS_MAX}, ${STREAM_BYTES_MAX / 2 ** 20} MiB |`],
    ['STREAM_IDLE_MS', `has not called for ${STREAM_IDLE_MS / 1_000} s`],
    ['CALL_SLOTS_MAX', `| calls of a stream under way | ${said(callMessages.CALL_SLOTS_MAX)} |`],
    [
      'ROOM',
      `a replica has ${ROOM.bytes / 2 ** 20} MiB (${SMALL_ROOM.bytes / 2 ** 20} MiB where less than ${(2 * ROOM.bytes) / 2 ** 20} are free)`,
    ],
    [
      'blockCountMax',
      `| calls and answers by parts at a replica | ${ROOM.blockCountMax}, ${ROOM.bytes / 2 ** 20} MiB,`,
    ],
    ['IDLE_MS_MAX', `after ${IDLE_MS_MAX / 1_000} s without a word room is given back`],
    ['KEPT_BYTES', `${KEPT_BYTES / 1_024} KiB of such answers`],
    ['CALL_DEADLINE_MS_MAX', `| deadline of a call | ${CALL_DEADLINE_MS_MAX / 1_000} s;`],
  ] as const) {
    assert.ok(text.replaceAll('\n  ', ' ').includes(phrase), `${name}: "${phrase}"`);
  }
});

test('should describe the present version, and name its golden packets', () => {
  const versions = [...text.matchAll(/golden\/wire-v(\d+)\.json|wire version: (\d+)|^# The wire, version (\d+)/gm)];
  assert.equal(versions.length, 4);
  for (const [found, ...version] of versions) assert.equal(Number(version.join('')), limits.WIRE_VERSION, found);
});
