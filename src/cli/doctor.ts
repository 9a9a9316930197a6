import { Command } from 'commander';
import { checkMachine } from './machine-checks.ts';
import type { CheckResult } from './machine-checks.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import { jsonOption } from './shared-options.ts';
import { formatTable } from './table.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Check this machine: buffers, MTU, cores, memory, Node version, ports; says what to change.')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The exit code is 1 only if something makes it impossible to run.

Examples:
  avocado doctor
  avocado doctor --json`,
    )
    .action(doctor);
}

async function doctor(options: { readonly json?: boolean }): Promise<void> {
  const results = await checkMachine();
  process.stdout.write(options.json === true ? `${JSON.stringify({ checks: results })}\n` : describe(results));
  const failed = results.filter((result) => result.level === 'fail');
  if (failed.length === 0) return;
  throw new CommandFailure(`error: avocado can't run here: ${failed.map(({ name }) => name).join(', ')}`, EXIT_FAILED);
}

function describe(results: readonly CheckResult[]): string {
  return formatTable(
    results.map(({ level, name, seen, advice }) => [level, name, advice === undefined ? seen : `${seen}: ${advice}`]),
  );
}
