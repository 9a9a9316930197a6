import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';
import { Command } from 'commander';
import { describeValue } from './describe-value.ts';
import { CommandFailure, EXIT_FAILED, EXIT_WRONG_INPUT } from './failure.ts';
import {
  asOption,
  clusterOption,
  datagramBytesOption,
  enrolmentKeyOption,
  jsonOption,
  routeOption,
  timeoutOption,
  wholeNumberBetween,
} from './shared-options.ts';
import { withClient } from './with-client.ts';
import type { ClientOptions } from './with-client.ts';

interface UpdateOptions extends ClientOptions {
  readonly attempts: number;
}

const ATTEMPTS_DEFAULT = 100;
const ATTEMPTS_MAX = 1_000_000;

export function updateCommand(): Command {
  return new Command('update')
    .description('Replace a value by what a program makes of it, so that no change of others in between is lost.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .argument('<program>', 'reads the value from its standard input and writes the new one to its standard output')
    .argument('[arguments...]', 'of the program')
    .addOption(clusterOption())
    .addOption(timeoutOption())
    .addOption(routeOption())
    .addOption(asOption())
    .addOption(enrolmentKeyOption())
    .addOption(datagramBytesOption())
    .option(
      '--attempts <count>',
      'how often the program is run at most, when others change the value meanwhile',
      wholeNumberBetween(1, ATTEMPTS_MAX),
      ATTEMPTS_DEFAULT,
    )
    .addOption(jsonOption())
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The program is run directly, without a shell; an absent key gives it nothing to read. When it ends with another code than 0
nothing is changed; nor when it takes longer than --timeout, which ends it. Options of this command stand before the key.

Examples:
  avocado update greeting tr a-z A-Z
  avocado update --timeout 30s list sort -u
  avocado update settings jq -c '.retries += 1'`,
    )
    .action(update);
}

async function update(key: string, program: string, args: string[], options: UpdateOptions): Promise<void> {
  const stop = new AbortController();
  const filter = (current: Buffer | undefined): Promise<Buffer> =>
    runFilter(program, args, current ?? Buffer.alloc(0), stop.signal);
  const { attempts } = options;
  const state = await withClient(options, (client, deadlineMs) =>
    client.update(key, filter, { deadlineMs, attempts }),
  ).finally(() => stop.abort());
  const done = { key, ...describeValue(state.value), version: state.version };
  process.stdout.write(options.json === true ? `${JSON.stringify(done)}\n` : 'ok\n');
}

/** @param signal Ends the program: its time is over. */
async function runFilter(
  program: string,
  args: readonly string[],
  input: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], signal });
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.once('error', ({ code }: NodeJS.ErrnoException) => {
      // What it has started itself may hold the pipe open, and live on.
      child.stdout.destroy();
      child.unref();
      reject(
        new CommandFailure(`error: ${program} can't be run (${code}): give a program in the path`, EXIT_WRONG_INPUT),
      );
    });
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : (signal ?? `code ${code}`)));
  });
  // A program may end without having read all.
  child.stdin.once('error', () => {});
  child.stdin.end(input);
  const [output, failure] = await Promise.all([buffer(child.stdout), ended]);
  if (failure === undefined) return output;
  throw new CommandFailure(`error: ${program} ended with ${failure}; nothing was changed`, EXIT_FAILED);
}
