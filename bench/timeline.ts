import { formatCounts, microsecondsSince, sentence, verdictOf } from './check-report.ts';
import type { CheckReport } from './check-report.ts';
import type { Violation } from './checker/check.ts';
import { resultOf } from './checker/describe.ts';
import { nameOf } from './checker/explain.ts';
import type { Operation } from './checker/operation.ts';
import { isPlain } from './checker/operation.ts';
import { count } from './report-text.ts';
import { TIMELINE_STYLE } from './timeline-style.ts';

/**
 * The verdict of a check as one HTML file without scripts or anything from elsewhere. For a violation it draws the
 * operations that contradict each other, and below them what else happened to the key at that time: a lane a process, a
 * bar an operation. What counts is the order of starts and ends, which may be microseconds apart within a window of
 * seconds; so by default equal steps lead from one start or end of the window to the next, and a switch shows true time.
 */
export function timelinePage(report: CheckReport, operations: readonly Operation[]): string {
  const { violation, verdict } = report.result;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(verdictOf(report.result))}</title>
<style>${TIMELINE_STYLE}</style>
</head>
<body>
<h1 class="${verdict}">${escapeHtml(verdictOf(report.result))}</h1>
${violation === undefined ? '' : `<p>${escapeHtml(sentence(violation.explanation))}</p>`}
<p class="counts">${escapeHtml(formatCounts(report))}.</p>
${violation === undefined ? '' : violationPart(violation, operations)}
</body>
</html>
`;
}

/** Other operations of the key that are drawn; browsers draw so many at once, and nobody looks at more. */
const CONTEXT_COUNT_MAX = 2_000;
/** How much before and behind the window is shown, as a share of its length. */
const MARGIN = 0.15;

function violationPart(violation: Violation, operations: readonly Operation[]): string {
  const { key, window } = violation;
  const axis = new Axis(window);
  const inWindow = new Set(window);
  const around = operations.filter(
    (operation) =>
      operation.key === key && !inWindow.has(operation) && operation.start <= axis.to && operation.end >= axis.from,
  );
  const shown = nearest(around, window);
  const left = around.length - shown.length;
  const note = left > 0 ? `: of ${count(around.length)} the ${count(shown.length)} nearest to the last end above` : '';
  return `${tableOf(window, axis)}
<div class="controls">
<fieldset><legend>Time</legend>
<label><input type="radio" name="scale" checked> equal steps</label>
<label><input type="radio" name="scale" id="true-scale"> to scale</label></fieldset>
<fieldset><legend>Width</legend>
<label><input type="radio" name="zoom" checked> 1×</label>
${[4, 16, 64].map((zoom) => `<label><input type="radio" name="zoom" id="zoom-${zoom}"> ${zoom}×</label>`).join('\n')}</fieldset>
<span class="legend"><i class="key put"></i>put <i class="key delete"></i>delete <i class="key get"></i>get <i class="key rmw"></i>read-modify-write <i class="key open"></i>outcome unknown. Point at a bar to read it.</span>
</div>
<div class="scroll"><div class="track">
<div class="guides">${axis.knots.map((time) => `<i style="${axis.place(time, time)}"></i>`).join('')}</div>
<div class="row axis"><div class="name">µs</div><div class="lanes">${axisLabels(axis)}</div></div>
<h2>These contradict each other</h2>
${lanesOf(window, axis, true)}
<h2>Other operations of the key at that time${note}</h2>
${shown.length === 0 ? '<p class="none">none</p>' : lanesOf(shown, axis, false)}
</div></div>`;
}

/** Those with the least time between them and the last end of the window, where the contradiction became certain. */
function nearest(around: readonly Operation[], window: readonly Operation[]): readonly Operation[] {
  if (around.length <= CONTEXT_COUNT_MAX) return around;
  const middle = Math.max(...window.map(({ end }) => end).filter(Number.isFinite));
  const distance = ({ start, end }: Operation): number => Math.max(0, start - middle, middle - end);
  return around.toSorted((a, b) => distance(a) - distance(b)).slice(0, CONTEXT_COUNT_MAX);
}

/** Where a time lies, in percent, on both scales. */
class Axis {
  /** All starts and ends in the window, once each. */
  readonly knots: readonly number[];
  readonly origin: number;
  readonly from: number;
  readonly to: number;

  constructor(window: readonly Operation[]) {
    const times = window.flatMap(({ start, end }) => (end === Infinity ? [start] : [start, end]));
    this.knots = [...new Set(times)].sort((a, b) => a - b);
    this.origin = this.knots[0]!;
    const last = this.knots.at(-1)!;
    const margin = Math.max(1, (last - this.origin) * MARGIN);
    this.from = this.origin - margin;
    this.to = last + margin;
  }

  /** CSS variables: left and width to scale and in equal steps. */
  place(start: number, end: number): string {
    const [from, to] = [Math.max(start, this.from), Math.min(end, this.to)];
    const [t, e] = [this.#trueShare(from), this.#stepShare(from)];
    return `--t:${percent(t)};--tw:${percent(this.#trueShare(to) - t)};--e:${percent(e)};--ew:${percent(this.#stepShare(to) - e)}`;
  }

  #trueShare(time: number): number {
    return (time - this.from) / (this.to - this.from);
  }

  #stepShare(time: number): number {
    const stops = [this.from, ...this.knots, this.to];
    const behind = stops.findIndex((stop, index) => index > 0 && time <= stop);
    const [a, b] = [stops[behind - 1]!, stops[behind]!];
    return (behind - 1 + (time - a) / (b - a)) / (stops.length - 1);
  }
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(3))}%`;
}

function axisLabels(axis: Axis): string {
  const steps = axis.knots.map((time) => axisLabel(axis, time, 'in-steps'));
  const quarters = [0, 0.25, 0.5, 0.75].map((share) =>
    axisLabel(axis, axis.from + share * (axis.to - axis.from), 'in-scale'),
  );
  return [...steps, ...quarters].join('');
}

function axisLabel(axis: Axis, time: number, className: string): string {
  return `<span class="${className}" style="${axis.place(time, time)}">${microsecondsSince(axis.origin, time)}</span>`;
}

function lanesOf(operations: readonly Operation[], axis: Axis, isWindow: boolean): string {
  const byProcess = new Map<number | undefined, Operation[]>();
  for (const operation of operations.toSorted((a, b) => a.start - b.start)) {
    const others = byProcess.get(operation.process);
    if (others === undefined) byProcess.set(operation.process, [operation]);
    else others.push(operation);
  }
  return [...byProcess]
    .sort(([a], [b]) => (a ?? 0) - (b ?? 0))
    .map(([process, ofProcess]) => {
      const { lanes, laneCount } = stack(ofProcess, isWindow);
      const bars = ofProcess.map((operation, index) => bar(operation, lanes[index]!, axis, isWindow)).join('\n');
      return `<div class="row${isWindow ? ' window' : ''}"><div class="name">process ${process ?? '-'}</div><div class="lanes" style="--n:${laneCount}">
${bars}</div></div>`;
    })
    .join('\n');
}

/** Operations of one process that overlap lie below each other; those of the window always, to leave room for labels. */
function stack(byStart: readonly Operation[], isWindow: boolean): { lanes: number[]; laneCount: number } {
  const ends: number[] = [];
  const lanes = byStart.map(({ start, end }) => {
    const free = isWindow ? -1 : ends.findIndex((other) => other < start);
    const lane = free === -1 ? ends.length : free;
    ends[lane] = end;
    return lane;
  });
  return { lanes, laneCount: ends.length };
}

function bar(operation: Operation, lane: number, axis: Axis, isWindow: boolean): string {
  const { kind, start, end } = operation;
  const isOpen = end === Infinity;
  const label = isWindow ? `<b>${escapeHtml(`${kind} ${resultOf(operation)}`)}</b>` : '';
  const times = `${microsecondsSince(axis.origin, start)} to ${isOpen ? 'unknown' : microsecondsSince(axis.origin, end)} µs`;
  const returned = kind === 'get' || !isPlain(operation) ? ` ${resultOf(operation)}` : '';
  const name = isPlain(operation) ? nameOf(operation) : kind;
  const detail = escapeHtml(`${name}${returned}, ${times}`);
  const focus = isWindow ? ' tabindex="0"' : '';
  return `<div class="bar ${isPlain(operation) ? kind : 'rmw'}${isOpen ? ' open' : ''}"${focus} style="--l:${lane};${axis.place(start, end)}">${label}<span>${detail}</span></div>`;
}

function tableOf(window: readonly Operation[], axis: Axis): string {
  const rows = window.map((operation) => {
    const end = operation.end === Infinity ? 'unknown' : microsecondsSince(axis.origin, operation.end);
    const cells = [String(operation.process ?? '-'), operation.kind, resultOf(operation)].map(
      (cell) => `<td>${escapeHtml(cell)}</td>`,
    );
    return `<tr>${cells.join('')}<td class="time">${microsecondsSince(axis.origin, operation.start)}</td><td class="time">${end}</td></tr>`;
  });
  return `<table>
<tr><th>process</th><th>operation</th><th>value</th><th class="time">start µs</th><th class="time">end µs</th></tr>
${rows.join('\n')}
</table>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
