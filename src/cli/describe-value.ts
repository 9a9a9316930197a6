import { isUtf8 } from 'node:buffer';

/** How bytes are written in JSON: as text when they are UTF-8, else in base64. */
export function encodingOf(bytes: Buffer): 'utf8' | 'base64' {
  return isUtf8(bytes) ? 'utf8' : 'base64';
}

/** What --json says of a value. */
export function encodedValue(value: Buffer): object {
  const encoding = encodingOf(value);
  return { encoding, value: value.toString(encoding) };
}

/** And of what there is, or is not, under a key. */
export function describeValue(value: Buffer | undefined): object {
  return value === undefined ? { found: false } : { found: true, ...encodedValue(value) };
}

/** Control characters, and those that turn the direction of what follows (Unicode Standard Annex 9). */
const UNSAFE = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const UNSAFE_IN_LINES = /(?![\t\n])[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const NOT_ASCII = /[^\x20-\x7e]/g;
const NOT_ASCII_IN_LINES = /[^\t\n\x20-\x7e]/g;

/**
 * Bytes as a stream gets them: files and pipes as they are. To a terminal others' data must not give orders (colours, the
 * cursor, a title, keys that it seems to have been sent): there, what is no printable text is shown by its code.
 * @param isOneLine Tabs and line ends are no text either.
 */
export function bytesFor(stream: { readonly isTTY?: boolean }, bytes: Buffer, isOneLine: boolean): Buffer | string {
  return stream.isTTY === true ? printable(bytes, isOneLine) : bytes;
}

export function printable(bytes: Buffer, isOneLine: boolean): string {
  if (isUtf8(bytes)) {
    return bytes.toString().replace(isOneLine ? UNSAFE : UNSAFE_IN_LINES, codeOf);
  }
  return bytes.toString('latin1').replace(isOneLine ? NOT_ASCII : NOT_ASCII_IN_LINES, codeOf);
}

function codeOf(character: string): string {
  const code = character.codePointAt(0)!;
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/** For people, on one line: the beginning of a text, the length of what is none. */
const SHOWN_CHARS_MAX = 60;

export function showValue(value: Buffer | undefined): string {
  if (value === undefined) return 'it is absent';
  if (!isUtf8(value)) return `it is ${value.length} bytes`;
  const text = value.toString();
  const shown = JSON.stringify(text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}...`);
  return `it is ${printable(Buffer.from(shown), true)}`;
}
