/**
 * Where things lie in the envelope of a sealed value:
 *
 *     header (32) | tag of each chunk (16), none for a value in one piece | ciphertext (same length as the value)
 *
 * A value of at most VALUE_CHUNK_BYTES is in one piece; a longer one is in chunks of VALUE_CHUNK_BYTES, the last as long
 * as what is left. So a length belongs to one value length at most, and those between belong to none.
 */
import { ENVELOPE_HEADER_BYTES, SEALED_VALUE_BYTES_MAX, VALUE_CHUNK_BYTES, VALUE_TAG_BYTES } from './sealing.ts';

/** 0 for a value in one piece. */
export function chunkCountOf(valueBytes: number): number {
  return valueBytes <= VALUE_CHUNK_BYTES ? 0 : Math.ceil(valueBytes / VALUE_CHUNK_BYTES);
}

export function valueOffsetOf(valueBytes: number): number {
  return ENVELOPE_HEADER_BYTES + chunkCountOf(valueBytes) * VALUE_TAG_BYTES;
}

/** Length of the value in an envelope of that length; -1 when no value has such an envelope. */
export function valueBytesIn(envelopeBytes: number): number {
  const behindHeaderBytes = envelopeBytes - ENVELOPE_HEADER_BYTES;
  if (behindHeaderBytes <= VALUE_CHUNK_BYTES) return behindHeaderBytes < 0 ? -1 : behindHeaderBytes;
  const chunkCount = Math.ceil(behindHeaderBytes / (VALUE_CHUNK_BYTES + VALUE_TAG_BYTES));
  const valueBytes = behindHeaderBytes - chunkCount * VALUE_TAG_BYTES;
  return valueBytes <= SEALED_VALUE_BYTES_MAX && chunkCountOf(valueBytes) === chunkCount ? valueBytes : -1;
}
