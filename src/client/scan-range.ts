import { AvocadoError } from '../errors.ts';
import { KEY_BYTES_MAX } from '../protocol/messages.ts';

/** What part of all keys a scan covers. Keys are strings (taken as UTF-8) or bytes, compared bytewise. */
export interface ScanRange {
  /** The first key of the range. Default: the first there is. */
  readonly start?: string | Uint8Array;
  /** The first key behind the range. Default: none, up to the last there is. */
  readonly end?: string | Uint8Array;
  /** Only keys that begin so; with start or end: both must hold. */
  readonly prefix?: string | Uint8Array;
}

/** Empty: no bound on that side. */
export interface KeyBounds {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** Undefined: no key can be in it. @throws AvocadoError INVALID_KEY. */
export function boundsOf({ start, end, prefix }: ScanRange): KeyBounds | undefined {
  const first = boundOf('start', start);
  const behind = boundOf('end', end);
  const begin = boundOf('prefix', prefix);
  const behindPrefix = successorOf(begin);
  const bounds = {
    start: Buffer.compare(first, begin) < 0 ? begin : first,
    end: behind.length === 0 || (behindPrefix.length > 0 && isBefore(behindPrefix, behind)) ? behindPrefix : behind,
  };
  if (end !== undefined && behind.length === 0) return undefined;
  return bounds.end.length > 0 && !isBefore(bounds.start, bounds.end) ? undefined : bounds;
}

function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) < 0;
}

/** A copy: pages are asked for long after the call. */
function boundOf(name: string, key: string | Uint8Array | undefined): Uint8Array {
  if (key === undefined) return new Uint8Array(0);
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
    throw new AvocadoError('INVALID_KEY', `${name} is a string or a Uint8Array`);
  }
  const bytes = typeof key === 'string' ? Buffer.from(key, 'utf8') : new Uint8Array(key);
  if (bytes.length <= KEY_BYTES_MAX) return bytes;
  throw new AvocadoError('INVALID_KEY', `${name} has at most ${KEY_BYTES_MAX} bytes, this one ${bytes.length}`);
}

/** The first key behind all that begin so; empty when there is none: no prefix, or nothing but bytes 255. */
function successorOf(prefix: Uint8Array): Uint8Array {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  const successor = new Uint8Array(prefix.subarray(0, length));
  if (length > 0) successor[length - 1]! += 1;
  return successor;
}
