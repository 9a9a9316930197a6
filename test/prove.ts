/**
 * Shows again, on this machine and on the built files, what the project claims: `npm run prove`. One line a claim, with
 * its figures and where there is one a table, on stdout; what is being done on stderr. Ends with "N claims shown, M failed",
 * and how many could not be run here, if any; exit code 1 if any failed.
 *
 *     npm run prove -- [--quick] [--only NAME,NAME] [--json FILE]
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ClaimResult, Proof } from './prove/proof.ts';
import { PROOFS } from './prove/proofs.ts';

const HELP = `Usage: npm run prove -- [options]

Show again, on this machine and on the built files, what the project claims.
A line a claim with its figures; exit code 1 if any failed. A claim that can't be run here says "not run:" and why.

Options:
  --only <names>  some of ${PROOFS.map((proof) => proof.name).join(', ')}
  --quick         shorter where that leaves the claim as it is
  --json <file>   write the claims to FILE as JSON too
  --help          display help

Examples:
  npm run prove
  npm run prove -- --only crash-kill,attacks
  npm run prove -- --quick --json claims.json
`;

interface Options {
  readonly quick: boolean;
  readonly proofs: readonly Proof[];
  readonly jsonPath: string | undefined;
}

interface ReportedClaim extends ClaimResult {
  readonly proof: string;
}

const EXIT_FAILED = 1;
const EXIT_WRONG_INPUT = 2;
const EXIT_INTERRUPTED = 130;

function optionsOf(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      only: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit();
  }
  const names = values.only?.split(',') ?? PROOFS.map((proof) => proof.name);
  const proofs = names.map((name) => {
    const proof = PROOFS.find((candidate) => candidate.name === name);
    if (proof === undefined) {
      throw new Error(`--only ${name} names no proof: give some of ${PROOFS.map((known) => known.name).join(',')}`);
    }
    return proof;
  });
  return { quick: values.quick ?? false, proofs, jsonPath: values.json };
}

async function run(proof: Proof, quick: boolean, directory: string): Promise<ClaimResult[]> {
  const progress = (text: string): void => void process.stderr.write(`${proof.name}: ${text}\n`);
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`it did not end within ${proof.timeoutMs / 60_000} minutes`));
    }, proof.timeoutMs);
  });
  try {
    mkdirSync(directory);
    return await Promise.race([proof.run({ quick, directory, progress }), timeout]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Error) progress(error.stack ?? message);
    return [{ claim: proof.subject, ok: false, figures: message.replace(/\s*\n\s*/g, ' '), data: {} }];
  } finally {
    clearTimeout(timer);
  }
}

async function prove(options: Options): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'avocado-prove-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  // Clusters and sandboxes make their temporary files there, too, so that none is left whatever happens.
  process.env['TMPDIR'] = directory;
  // Replicas and load processes end with this one.
  process.once('SIGINT', () => process.exit(EXIT_INTERRUPTED));
  process.once('SIGTERM', () => process.exit(EXIT_INTERRUPTED));
  const claims: ReportedClaim[] = [];
  for (const proof of options.proofs) {
    for (const result of await run(proof, options.quick, join(directory, proof.name))) {
      claims.push({ proof: proof.name, ...result });
      process.stdout.write(`${outcomeOf(result)} ${result.claim}: ${result.figures}\n`);
      if (result.table !== undefined) process.stdout.write(`${result.table.replaceAll(/^/gm, '         ')}\n`);
    }
  }
  const shownCount = claims.filter(({ ok }) => ok).length;
  const notRunCount = claims.filter(({ isNotRun }) => isNotRun).length;
  const failedCount = claims.length - shownCount - notRunCount;
  if (options.jsonPath !== undefined) writeReport(options, claims, options.jsonPath);
  const notRun = notRunCount === 0 ? '' : `, ${notRunCount} not run`;
  process.stdout.write(`${shownCount} claims shown, ${failedCount} failed${notRun}\n`);
  return failedCount === 0 ? 0 : EXIT_FAILED;
}

function outcomeOf({ ok, isNotRun }: ClaimResult): string {
  if (isNotRun) return 'not run:';
  return ok ? 'OK    ' : 'FAILED';
}

function writeReport(options: Options, claims: readonly ReportedClaim[], path: string): void {
  const cores = cpus();
  const machine = {
    cores: cores.length,
    cpuModel: cores[0]?.model.trim() ?? 'unknown',
    nodeVersion: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
  const report = { endedAt: new Date().toISOString(), quick: options.quick, machine, claims };
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
}

let options: Options | undefined;
try {
  options = optionsOf(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`error: ${(error as Error).message}\n`);
}
// What hangs after its time-out must not keep this process.
process.exit(options === undefined ? EXIT_WRONG_INPUT : await prove(options));
