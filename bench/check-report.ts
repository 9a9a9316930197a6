import type { CheckResult, Violation } from './checker/check.ts';
import { windowTable } from './checker/describe.ts';
import { fieldsOf } from './history-fields.ts';
import type { HistoryCounts } from './history-reader.ts';
import { count, seconds } from './report-text.ts';

/** What `avocado check-history` found, as text and as JSON. */
export interface CheckReport {
  readonly result: CheckResult;
  readonly counts: HistoryCounts;
  readonly tookMs: number;
  readonly statesMax: number;
}

/** Keys named when more than one is wrong. */
const KEYS_SHOWN_MAX = 10;
/** A minimal window has fewer; one that could not be made minimal may have thousands. */
const WINDOW_SHOWN_MAX = 100;
/** Histories are in nanoseconds. */
const NS_PER_US = 1_000;

export function formatCheck(report: CheckReport): string {
  const { result, statesMax } = report;
  const { violation } = result;
  const lines = [`${verdictOf(result)}\n`];
  if (violation !== undefined) lines.push(`${sentence(violation.explanation)}\n\n${formatWindow(violation)}\n`);
  lines.push(`${formatCounts(report)}\n`);
  if (result.violatingKeys.length > 1) lines.push(`Not linearizable: ${keyList(result.violatingKeys)}\n`);
  if (result.undecidedKeys.length > 0) {
    lines.push(
      `Undecided, because a value was put more than once, or read-modify-writes overlap too much, and ` +
        `${count(statesMax)} states were not enough: ${keyList(result.undecidedKeys)}; try a greater --states, ` +
        `or give each put a value of its own\n`,
    );
  }
  return lines.join('');
}

export function verdictOf({ verdict, violation, undecidedKeys }: CheckResult): string {
  switch (verdict) {
    case 'linearizable':
      return 'Linearizable: the operations of each key fit an order.';
    case 'undecided':
      return `Undecided: nothing wrong was found, but ${keyCount(undecidedKeys.length)} could not be decided.`;
    case 'violation':
      return `Not linearizable: key ${JSON.stringify(violation!.key)}: ${violation!.reason}.`;
  }
}

export function formatCounts({ counts, result, tookMs }: CheckReport): string {
  return (
    `${count(counts.operations)} operations on ${keyCount(result.keyCount)} by ${plural(counts.processes, 'process', 'es')}: ` +
    `${count(counts.unknown)} of unknown outcome, ${plural(counts.errors, 'error', 's')}; checked in ${seconds(tookMs)}`
  );
}

/** Times in µs since the window's first start. */
function formatWindow({ window, isMinimal }: Violation): string {
  const originNs = window[0]!.start;
  const table = windowTable(window.slice(0, WINDOW_SHOWN_MAX), {
    unit: ' µs',
    showTime: (time) => microsecondsSince(originNs, time),
  });
  const origin = `0 µs is ${(originNs / 1e9).toFixed(9)} s of the history.`;
  const minimal = isMinimal ? '' : ' Fewer operations may do: the search for the smallest window was cut short.';
  const rest = window.length - WINDOW_SHOWN_MAX;
  return `${table}${rest > 0 ? `... and ${count(rest)} more, see --json\n` : ''}${origin}${minimal}\n`;
}

export function microsecondsSince(originNs: number, timeNs: number): string {
  return ((timeNs - originNs) / NS_PER_US).toFixed(3);
}

export function checkJson({ result, counts, tookMs }: CheckReport): unknown {
  const { verdict, violation, violatingKeys, undecidedKeys, keyCount: keys } = result;
  return {
    verdict,
    counts: { ...counts, keys },
    tookMs: Math.round(tookMs),
    violatingKeys,
    undecidedKeys,
    ...(violation === undefined
      ? {}
      : {
          violation: {
            key: violation.key,
            reason: violation.reason,
            explanation: violation.explanation,
            isMinimal: violation.isMinimal,
            window: violation.window.map(fieldsOf),
          },
        }),
  };
}

export function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function keyList(keys: readonly string[]): string {
  const shown = keys.slice(0, KEYS_SHOWN_MAX).map((key) => JSON.stringify(key));
  const more = keys.length > shown.length ? ' and others' : '';
  return `${keyCount(keys.length)}: ${shown.join(', ')}${more}`;
}

function keyCount(keys: number): string {
  return plural(keys, 'key', 's');
}

function plural(number: number, noun: string, ending: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : ending}`;
}
