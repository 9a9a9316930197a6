import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { Command } from 'commander';
import { assertHeld, expectedOf, ifAbsentOption, ifValueOption, ifVersionOption } from './conditions.ts';
import type { ConditionOptions } from './conditions.ts';
import { CommandFailure, EXIT_WRONG_INPUT } from './failure.ts';
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

interface PutOptions extends ClientOptions, ConditionOptions {
  readonly file?: string;
}

export function putCommand(): Command {
  return new Command('put')
    .description('Store a value under a key; with a condition that does not hold, exit code 1.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .argument('[value]', 'the value; - reads it from standard input')
    .option('--file <path>', 'read the value from a file')
    .addOption(ifAbsentOption())
    .addOption(ifValueOption())
    .addOption(ifVersionOption())
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
Examples:
  avocado put greeting hello
  avocado put photo --file photo.jpg
  date | avocado put now -
  avocado put leader "$HOSTNAME" --if-absent
  avocado put light off --if-value on
  avocado put -- temperature -5`,
    )
    .action(put);
}

async function put(key: string, argument: string | undefined, options: PutOptions): Promise<void> {
  const value = await valueFrom(argument, options.file);
  const expected = expectedOf(options);
  const result = await withClient(options, async (client, deadlineMs) =>
    expected === undefined
      ? await client.put(key, value, { deadlineMs })
      : await client.compareAndSet(key, expected, value, { deadlineMs }),
  );
  if (result !== undefined) assertHeld(key, 'stored', result, options.json === true);
  const done = { key, stored: true, valueBytes: value.length, version: result?.version };
  process.stdout.write(options.json === true ? `${JSON.stringify(done)}\n` : 'ok\n');
}

async function valueFrom(argument: string | undefined, file: string | undefined): Promise<Buffer> {
  if ((argument === undefined) === (file === undefined)) {
    throw new CommandFailure(
      'error: give one value: as an argument, - for standard input, or --file PATH',
      EXIT_WRONG_INPUT,
    );
  }
  if (file !== undefined) return readValue(file);
  return argument === '-' ? buffer(process.stdin) : Buffer.from(argument ?? '');
}

function readValue(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandFailure(`error: ${file} can't be read (${code}): give the path of a file`, EXIT_WRONG_INPUT);
  }
}
