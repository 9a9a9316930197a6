import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesFor, describeValue, encodingOf, printable, showValue } from '../../src/cli/describe-value.ts';

const TERMINAL = { isTTY: true };
/** A title, a colour, and an answer that a terminal would type for its user. */
const ORDERS = Buffer.from('\x1b]0;title\x07red \x1b[31m\x9b6n');

test('a terminal is told no orders by what others have stored', () => {
  assert.equal(bytesFor(TERMINAL, ORDERS, false), '\\x1b]0;title\\x07red \\x1b[31m\\x9b6n');
  assert.equal(printable(Buffer.from('a\u202eb\u2066c\u2028d\x7f'), false), 'a\\u{202e}b\\u{2066}c\\u{2028}d\\x7f');
  assert.equal(printable(Buffer.from([0x61, 0xff, 0x9b, 0x1b, 0x62]), false), 'a\\xff\\x9b\\x1bb');
  for (let code = 0; code < 256; code++) {
    for (const bytes of [Buffer.from([code]), Buffer.from(String.fromCodePoint(code)), Buffer.from([0xff, code])]) {
      assert.doesNotMatch(printable(bytes, true), /\p{Cc}/u);
    }
  }
});

test('text stays as it is, lines too where there is more than one', () => {
  const text = 'Grüße, 世界 👩‍👧\n\tand a line';
  assert.equal(bytesFor(TERMINAL, Buffer.from(text), false), text);
  assert.equal(printable(Buffer.from(text), true), 'Grüße, 世界 👩‍👧\\x0a\\x09and a line');
  assert.equal(printable(Buffer.from([0xff, 0x0a, 0x62]), false), '\\xff\nb');
});

test('files and pipes get the bytes', () => {
  assert.equal(bytesFor({}, ORDERS, true), ORDERS);
  assert.equal(bytesFor({ isTTY: false }, ORDERS, false), ORDERS);
});

test('JSON has text as text, and what is none in base64', () => {
  const binary = Buffer.from([0xff, 0]);
  assert.deepEqual(describeValue(Buffer.from('é')), { found: true, encoding: 'utf8', value: 'é' });
  assert.deepEqual(describeValue(binary), { found: true, encoding: 'base64', value: '/wA=' });
  assert.equal(encodingOf(binary), 'base64');
  assert.equal(encodingOf(Buffer.from('')), 'utf8');
});

test('what a failed comparison says is one line without orders', () => {
  assert.equal(showValue(ORDERS), 'it is "\\u001b]0;title\\u0007red \\u001b[31m\\x9b6n"');
  assert.equal(showValue(Buffer.from([0xff])), 'it is 1 bytes');
});
