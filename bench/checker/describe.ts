import { formatTable } from '../../src/cli/table.ts';
import type { Violation } from './check.ts';
import { showChange, showValue } from './explain.ts';
import type { Operation } from './operation.ts';
import { isPlain } from './operation.ts';

/** A violation as text for people. */
export function describeViolation({ key, reason, explanation, window }: Violation): string {
  return `key ${key}: ${reason}: ${explanation}\n${windowTable(window)}`;
}

/** One line an operation. @param showTime How times look: as they are, if not said otherwise. */
export function windowTable(
  window: readonly Operation[],
  { unit = '', showTime = String }: { unit?: string; showTime?: (time: number) => string } = {},
): string {
  const heading = ['process', 'operation', 'value', `start${unit}`, `end${unit}`];
  const rows = window.map((operation) => [
    operation.process === undefined ? '-' : String(operation.process),
    operation.kind,
    resultOf(operation),
    showTime(operation.start),
    operation.end === Infinity ? 'unknown' : showTime(operation.end),
  ]);
  const timeColumns = [3, 4];
  const widths = timeColumns.map((column) => Math.max(...[heading, ...rows].map((row) => row[column]!.length)));
  const aligned = [heading, ...rows].map((row) =>
    row.map((cell, column) => (column < 3 ? cell : cell.padStart(widths[column - 3]!))),
  );
  return formatTable(aligned);
}

/** What was written, or read, or found. */
export function resultOf(operation: Operation): string {
  const { kind, value, version } = operation;
  const known = version === undefined ? '' : `, version ${version}`;
  if (isPlain(operation)) {
    const what = kind === 'delete' ? '' : `${kind === 'get' ? '-> ' : ''}${showValue(value)}`;
    return what === '' ? known.slice(2) : `${what}${known}`;
  }
  const { result, found } = operation;
  const seen = found === undefined ? '' : `, found ${showValue(found ?? undefined)}`;
  return `${showChange(operation)}${result === 'mismatch' ? ': mismatch' : ''}${seen}${known}`;
}
