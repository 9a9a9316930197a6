import { AvocadoError } from '../errors.ts';
import { STAMP_COUNTER_MAX } from '../stamp.ts';

/**
 * A version names one state of a key, for compareAndSet and deleteIf: the state's stamp, as text that callers don't look
 * into. A key that was never written has one too.
 *
 *     counter u64, writer u64, rmw u32, little endian; base64url without padding
 */
export interface VersionStamp {
  readonly counter: number;
  readonly writerHigh: number;
  readonly writerLow: number;
  readonly rmw: number;
}

const STAMP_BYTES = 20;
const TEXT_CHARS = 27;

export function versionOf({ counter, writerHigh, writerLow, rmw }: VersionStamp): string {
  const bytes = Buffer.allocUnsafe(STAMP_BYTES);
  bytes.writeBigUInt64LE(BigInt(counter), 0);
  bytes.writeInt32LE(writerLow, 8);
  bytes.writeInt32LE(writerHigh, 12);
  bytes.writeInt32LE(rmw, 16);
  return bytes.toString('base64url');
}

/** @throws AvocadoError INVALID_ARGUMENT for text that is no version. */
export function stampOf(version: unknown): VersionStamp {
  if (typeof version === 'string' && version.length === TEXT_CHARS) {
    const bytes = Buffer.from(version, 'base64url');
    // Only what versionOf() writes: base64 as a whole is more lenient.
    if (bytes.length === STAMP_BYTES && bytes.toString('base64url') === version) {
      const counter = bytes.readBigUInt64LE(0);
      if (counter <= STAMP_COUNTER_MAX) {
        return {
          counter: Number(counter),
          writerLow: bytes.readInt32LE(8),
          writerHigh: bytes.readInt32LE(12),
          rmw: bytes.readInt32LE(16),
        };
      }
    }
  }
  throw new AvocadoError('INVALID_ARGUMENT', 'this is no version: give one that getWithVersion() or a result has');
}
