import { InvalidArgumentError } from 'commander';

/** Durations as people write them: 250ms, 5s, 2m, 1h. A bare number is refused: its unit would be a guess. */
const MS_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** Node's timers hold 31 bits of milliseconds. */
const DURATION_MS_MAX = 2 ** 31 - 1;

/** A parser for commander; the result is in milliseconds, above zero. */
export function durationMs(text: string): number {
  const parsedMs = parseDurationMs(text);
  if (parsedMs === undefined || parsedMs <= 0 || parsedMs > DURATION_MS_MAX) {
    throw new InvalidArgumentError('Give a duration like 250ms, 5s, 2m or 1h.');
  }
  return parsedMs;
}

/** Undefined for what is no duration. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(text.trim());
  const unitMs = MS_BY_UNIT.get(match?.[2] ?? '');
  return match === null || unitMs === undefined ? undefined : Number(match[1]) * unitMs;
}
