import { Command } from 'commander';
import { bytesFor, describeValue } from './describe-value.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import {
  asOption,
  clusterOption,
  datagramBytesOption,
  enrolmentKeyOption,
  jsonOption,
  routeOption,
  timeoutOption,
} from './shared-options.ts';
import { withClient } from './with-client.ts';
import type { ClientOptions } from './with-client.ts';

interface GetOptions extends ClientOptions {
  readonly withVersion?: boolean;
}

export function getCommand(): Command {
  return new Command('get')
    .description('Print the value of a key; exit code 1 when there is none.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .option('--with-version', 'print the version on a line before the value, also when there is none; for --if-version')
    .addOption(clusterOption())
    .addOption(timeoutOption())
    .addOption(routeOption())
    .addOption(asOption())
    .addOption(enrolmentKeyOption())
    .addOption(datagramBytesOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The value is written as it is; on a terminal with a line end, and with what is no printable text as \\x1b.

Examples:
  avocado get greeting
  avocado get photo > photo.jpg
  avocado get greeting --with-version
  avocado get billing/1 --as billing --route coordinated
  avocado get greeting --json --cluster ./cluster`,
    )
    .action(get);
}

async function get(key: string, options: GetOptions): Promise<void> {
  const { value, version } = await withClient(options, async (client, deadlineMs) =>
    options.withVersion === true
      ? await client.getWithVersion(key, { deadlineMs })
      : { value: await client.get(key, { deadlineMs }), version: undefined },
  );
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ key, ...describeValue(value), version })}\n`);
  } else {
    if (version !== undefined) process.stdout.write(`${version}\n`);
    if (value !== undefined) process.stdout.write(bytesFor(process.stdout, value, false));
  }
  if (value === undefined) throw new CommandFailure(`absent: ${key}`, EXIT_FAILED);
  if (options.json !== true && process.stdout.isTTY) process.stdout.write('\n');
}
