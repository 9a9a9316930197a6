import { setTimeout as sleep } from 'node:timers/promises';
import { AvocadoError } from '../errors.ts';
import { valueBytesOf } from './arguments.ts';
import { errorOf } from './failures.ts';
import type { ConditionalResult, Expected, Value, Versioned } from './read-modify-write.ts';

/**
 * Makes the value of a key what a function says of the present one: read, call, compare-and-set on the version, and all of
 * it again while others get in between. Whoever fails learns the new state with it, so an attempt is one operation.
 */

/** What becomes of the key: its new value, or undefined to remove it. What is equal to the present value changes nothing. */
export type Change = (current: Buffer | undefined) => Value | undefined | Promise<Value | undefined>;

/** Measured: of 64 clients that updated one key at once each took 3 attempts, the slowest 9. */
export const ATTEMPTS_DEFAULT = 100;
/** Before another attempt: from 0 to this, doubled with each one up to the largest, so that contenders come apart. */
const BACKOFF_MS_MIN = 1;
const BACKOFF_MS_MAX = 64;
/** Of setTimeout(), which takes more for nothing. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface UpdateSteps {
  read(): Promise<Versioned>;
  setIf(expected: Expected, value: Value): Promise<ConditionalResult>;
  deleteIf(expected: Expected): Promise<ConditionalResult>;
  readonly signal: AbortSignal | undefined;
  /** Of the whole update. */
  leftMs(): number;
}

export async function runUpdate(steps: UpdateSteps, change: Change, attempts: number): Promise<Versioned> {
  let state = await steps.read();
  for (let attempt = 1; ; attempt++) {
    // A copy: the function may change it in place.
    const changed = await inTime(change(state.value && Buffer.from(state.value)), steps);
    const value = changed === undefined ? undefined : Buffer.from(valueBytesOf(changed));
    // Nothing to do: the read alone was the operation.
    if (isEqual(value, state.value)) return state;
    const expected = { version: state.version };
    const result = value === undefined ? await steps.deleteIf(expected) : await steps.setIf(expected, value);
    if (result.ok) return { value, version: result.version };
    if (attempt >= attempts) {
      throw new AvocadoError(
        'CONTENDED',
        `update: others changed the key during each of ${attempts} attempts; it had no effect: give more attempts, or change less often`,
      );
    }
    state = result;
    const backoffMs = Math.random() * Math.min(BACKOFF_MS_MIN * 2 ** (attempt - 1), BACKOFF_MS_MAX);
    if (attempt > 1) await sleep(backoffMs, undefined, { signal: steps.signal }).catch(() => {});
  }
}

/** What the function makes, unless it takes longer than the update may: then it is waited for no more. Nothing was sent. */
async function inTime<Made>(making: Made | Promise<Made>, steps: UpdateSteps): Promise<Made> {
  if (!(making instanceof Promise)) return making;
  const stop = new AbortController();
  const { signal } = steps;
  const onAbort = (): void => stop.abort();
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  const timeIsUp = sleep(Math.min(steps.leftMs(), TIMER_MS_MAX), undefined, { signal: stop.signal }).then(
    () => {
      throw new AvocadoError(
        'DEADLINE_EXCEEDED',
        'update: making the new value took until the deadline; it had no effect',
      );
    },
    () => {
      throw errorOf('update', 'aborted');
    },
  );
  try {
    return await Promise.race([making, timeIsUp]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    timeIsUp.catch(() => {});
    stop.abort();
  }
}

function isEqual(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}
