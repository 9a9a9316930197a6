/**
 * Refuses the JSON report of a bench that ran but did no work: every mode must be in it, have served operations, and have
 * met no errors. Run as a program it checks the file it is given.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SECURITY_MODES } from '../../net/mode.ts';

/** What is wrong with the report, a line each; none when it is good. */
export function faultsOf(reportJson: string): string[] {
  let report: unknown;
  try {
    report = JSON.parse(reportJson);
  } catch (cause) {
    return [`no JSON: ${String(cause)}`];
  }
  const runs = field(report, 'runs');
  if (!Array.isArray(runs)) return ['no list "runs"'];
  return SECURITY_MODES.flatMap((mode) => {
    const ofMode = runs.filter((run: unknown) => field(run, 'mode') === mode);
    if (ofMode.length === 0) return [`no run in mode ${mode}`];
    return ofMode.flatMap((run: unknown) => {
      const [opsPerSec, errors] = [field(run, 'opsPerSec'), field(run, 'errors')];
      const faults: string[] = [];
      if (typeof opsPerSec !== 'number' || !(opsPerSec > 0)) faults.push(`${mode}: opsPerSec is ${String(opsPerSec)}`);
      if (errors !== 0) faults.push(`${mode}: errors is ${String(errors)}`);
      return faults;
    });
  });
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function main(path: string | undefined): void {
  if (path === undefined) throw new Error('name the report to check');
  const faults = faultsOf(readFileSync(path, 'utf8'));
  for (const fault of faults) console.error(`bench report: ${fault}`);
  if (faults.length === 0) console.log(`bench report: ${SECURITY_MODES.join(', ')} served operations without errors`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2]);
