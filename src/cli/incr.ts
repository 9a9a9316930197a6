import { Command, InvalidArgumentError } from 'commander';
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

const DELTA_BITS = 64;

export function incrCommand(): Command {
  return new Command('incr')
    .description('Add to the whole number under a key and print the sum; an absent key counts as 0.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .argument('[delta]', 'whole number of signed 64 bits, may be negative (default: 1)', deltaOf)
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
The number is kept as decimal text, so get and put can be used on the same key. Each increment is done once; when it can't
be known whether it was, the command ends with OUTCOME_UNKNOWN. JSON has the sum as a string: it may need 64 bits.

Examples:
  avocado incr visits
  avocado incr stock -5
  avocado incr visits 10 --json`,
    )
    .action(increment);
}

async function increment(key: string, delta: bigint | undefined, options: ClientOptions): Promise<void> {
  const sum = await withClient(options, (client, deadlineMs) => client.increment(key, delta, { deadlineMs }));
  process.stdout.write(options.json === true ? `${JSON.stringify({ key, value: String(sum) })}\n` : `${sum}\n`);
}

function deltaOf(text: string): bigint {
  if (/^[+-]?\d+$/.test(text)) {
    const delta = BigInt(text.replace(/^\+/, ''));
    if (delta === BigInt.asIntN(DELTA_BITS, delta)) return delta;
  }
  throw new InvalidArgumentError('Give a whole number of signed 64 bits.');
}
