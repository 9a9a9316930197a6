import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { attestCommand } from './attest.ts';
import { auditCommand } from './audit.ts';
import { casCommand } from './cas.ts';
import { deleteCommand } from './delete.ts';
import { devCommand } from './dev.ts';
import { doctorCommand } from './doctor.ts';
import { oneLine, reportFailure } from './failure.ts';
import { getCommand } from './get.ts';
import { incrCommand } from './incr.ts';
import { initCommand } from './init.ts';
import { measureCommand } from './measure.ts';
import { lasCommand } from './las.ts';
import { putCommand } from './put.ts';
import { replicaCommand } from './replica.ts';
import { scanCommand } from './scan.ts';
import { statusCommand } from './status.ts';
import { updateCommand } from './update.ts';

/**
 * The `avocado` command line, but for `bench`, which a higher layer adds. What stands behind a command is its own: `bench
 * compare` has options of the names of `bench`.
 */
export function createProgram(): Command {
  return new Command('avocado')
    .description('A confidential, linearizable, replicated in-memory key-value store for hosts that are not trusted.')
    .version(packageVersion())
    .enablePositionalOptions()
    .addCommand(devCommand())
    .addCommand(casCommand())
    .addCommand(lasCommand())
    .addCommand(auditCommand())
    .addCommand(initCommand())
    .addCommand(replicaCommand())
    .addCommand(getCommand())
    .addCommand(putCommand())
    .addCommand(deleteCommand())
    .addCommand(incrCommand())
    .addCommand(updateCommand())
    .addCommand(scanCommand())
    .addCommand(statusCommand())
    .addCommand(doctorCommand())
    .addCommand(measureCommand())
    .addCommand(attestCommand());
}

/**
 * Runs the command line and returns the exit code: 0 done, 1 failed, 2 wrong input. Whatever goes wrong is one line on
 * stderr.
 */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  process.stdout.on('error', endWhenReaderLeft);
  reportInOneLine(program);
  try {
    await program.parseAsync(argv);
    return 0;
  } catch (error) {
    const { text, exitCode } = reportFailure(error);
    if (text !== '') process.stderr.write(`${text}\n`);
    return exitCode;
  }
}

/** For each command, those added later too: commander's own defaults are several lines and exit code 1. */
function reportInOneLine(command: Command, path = command.name()): void {
  command.exitOverride();
  command.configureOutput({
    outputError: (text, write) => {
      write(
        `error: ${oneLine(text)
          .replace(/^error: /, '')
          .replace(/\.?$/, '')}; see ${path} --help\n`,
      );
    },
  });
  for (const child of command.commands) reportInOneLine(child, `${path} ${child.name()}`);
}

/** `avocado get key | head -c 10`: the reader had enough. */
function endWhenReaderLeft(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
