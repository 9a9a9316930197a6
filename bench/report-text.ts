/** How figures and columns look in the bench's reports. */

export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

export function decimals(value: number): string {
  return value.toFixed(2);
}

export function microseconds(valueUs: number): string {
  return `${decimals(valueUs)} µs`;
}

export function megabytes(bytesPerSec: number): string {
  return `${(bytesPerSec / 1e6).toFixed(1)} MB/s`;
}

export function seconds(valueMs: number): string {
  return `${Number((valueMs / 1_000).toFixed(2))} s`;
}

/** By name: "3 deadline, 1 outcome-unknown". */
export function formatCounts(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, value]) => `${count(value)} ${name}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

/** Columns that line up, two spaces apart. The first is always on the left; figures read better on the right. */
export function alignColumns(rows: readonly (readonly string[])[], others: 'left' | 'right' = 'left'): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const width = widths[column] ?? 0;
        return column > 0 && others === 'right' ? cell.padStart(width) : cell.padEnd(width);
      });
      return cells.join('  ').trimEnd();
    })
    .join('\n');
}
