import type { WorkerSetting } from '../../workers/worker-count.ts';
import { parseWorkerSetting, WORKERS_MAX } from '../../workers/worker-count.ts';
import { AvocadoError } from '../errors.ts';
import { KEY_BYTES_MAX } from '../protocol/messages.ts';

/** What callers of the public API can get wrong. */

export function keyBytesOf(key: unknown): Uint8Array {
  const bytes = bytesOf(key, 'INVALID_KEY', 'keys are strings or Uint8Arrays');
  if (bytes.length >= 1 && bytes.length <= KEY_BYTES_MAX) return bytes;
  throw new AvocadoError('INVALID_KEY', `a key has 1 to ${KEY_BYTES_MAX} bytes, this one ${bytes.length}`);
}

export function valueBytesOf(value: unknown): Uint8Array {
  return bytesOf(value, 'INVALID_ARGUMENT', 'values are strings or Uint8Arrays');
}

function bytesOf(data: unknown, code: 'INVALID_KEY' | 'INVALID_ARGUMENT', message: string): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, 'utf8');
  if (data instanceof Uint8Array) return data;
  throw new AvocadoError(code, message);
}

export function positive(name: string, value: number, max: number): number {
  if (typeof value === 'number' && value > 0 && value <= max) return value;
  throw new AvocadoError('INVALID_ARGUMENT', `${name} is ${value}: give a positive number up to ${max}`);
}

export function count(name: string, value: number, max: number): number {
  if (Number.isInteger(value)) return positive(name, value, max);
  throw new AvocadoError('INVALID_ARGUMENT', `${name} is ${value}: give a whole number from 1 to ${max}`);
}

export function workerSetting(value: number | 'auto'): WorkerSetting {
  const setting = parseWorkerSetting(String(value));
  if (setting !== undefined) return setting;
  throw new AvocadoError('INVALID_ARGUMENT', `workers is ${value}: give 'auto', or a number from 0 to ${WORKERS_MAX}`);
}
