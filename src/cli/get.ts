import { isUtf8 } from 'node:buffer';
import { Command } from 'commander';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import { clusterOption, datagramBytesOption, jsonOption, routeOption, timeoutOption } from './shared-options.ts';
import { withClient } from './with-client.ts';
import type { ClientOptions } from './with-client.ts';

export function getCommand(): Command {
  return new Command('get')
    .description('Print the value of a key; exit code 1 when there is none.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .addOption(clusterOption())
    .addOption(timeoutOption())
    .addOption(routeOption())
    .addOption(datagramBytesOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The value is written as it is, with a line end on a terminal only.

Examples:
  avocado get greeting
  avocado get photo > photo.jpg
  avocado get greeting --json --cluster ./cluster`,
    )
    .action(get);
}

async function get(key: string, options: ClientOptions): Promise<void> {
  const value = await withClient(options, (client, deadlineMs) => client.get(key, { deadlineMs }));
  if (options.json === true) process.stdout.write(`${JSON.stringify(describe(key, value))}\n`);
  else if (value !== undefined) process.stdout.write(value);
  if (value === undefined) throw new CommandFailure(`absent: ${key}`, EXIT_FAILED);
  if (options.json !== true && process.stdout.isTTY) process.stdout.write('\n');
}

function describe(key: string, value: Buffer | undefined): object {
  if (value === undefined) return { key, found: false };
  const encoding = isUtf8(value) ? 'utf8' : 'base64';
  return { key, found: true, encoding, value: value.toString(encoding) };
}
