import { isUtf8 } from 'node:buffer';

/** What --json says of a key's value: as text when it is UTF-8, else in base64. */
export function describeValue(value: Buffer | undefined): object {
  if (value === undefined) return { found: false };
  const encoding = isUtf8(value) ? 'utf8' : 'base64';
  return { found: true, encoding, value: value.toString(encoding) };
}

/** For people, on one line: the beginning of a text, the length of what is none. */
const SHOWN_CHARS_MAX = 60;

export function showValue(value: Buffer | undefined): string {
  if (value === undefined) return 'it is absent';
  if (!isUtf8(value)) return `it is ${value.length} bytes`;
  const text = value.toString();
  return `it is ${JSON.stringify(text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}...`)}`;
}
