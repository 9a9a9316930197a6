import { InvalidArgumentError } from 'commander';

/** Byte counts as people write them, decimal (kB, MB, GB) and binary (KiB, MiB, GiB). */
const BYTES_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
]);

/** A parser for commander; both bounds are allowed. */
export function bytesBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const byteCount = parseBytes(text);
    if (byteCount === undefined) throw new InvalidArgumentError('Give bytes like 4096, 64KiB, 128MiB or 4GiB.');
    if (byteCount < min || byteCount > max) {
      throw new InvalidArgumentError(`Give a value from ${formatBytes(min)} to ${formatBytes(max)}.`);
    }
    return byteCount;
  };
}

/** Undefined for what is no byte count. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim());
  const unitBytes = BYTES_BY_UNIT.get(match?.[2]?.toLowerCase() ?? '');
  if (match === null || unitBytes === undefined) return undefined;
  return Math.floor(Number(match[1]) * unitBytes);
}

export function formatBytes(byteCount: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB'] as const) {
    const unitBytes = BYTES_BY_UNIT.get(unit.toLowerCase()) ?? 1;
    if (byteCount >= unitBytes) return `${trimZero((byteCount / unitBytes).toFixed(1))} ${unit}`;
  }
  return `${byteCount} B`;
}

function trimZero(text: string): string {
  return text.endsWith('.0') ? text.slice(0, -2) : text;
}
