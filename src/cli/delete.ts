import { Command } from 'commander';
import { assertHeld, expectedOf, ifValueOption, ifVersionOption } from './conditions.ts';
import type { ConditionOptions } from './conditions.ts';
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

interface DeleteOptions extends ClientOptions, ConditionOptions {}

export function deleteCommand(): Command {
  return new Command('delete')
    .description(
      'Remove a key and its value; also succeeds when there was none. With a condition that fails, exit code 1.',
    )
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
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
  avocado delete greeting
  avocado delete leader --if-value "$HOSTNAME"
  avocado delete greeting --json --timeout 500ms`,
    )
    .action(remove);
}

async function remove(key: string, options: DeleteOptions): Promise<void> {
  const expected = expectedOf(options);
  const result = await withClient(options, async (client, deadlineMs) =>
    expected === undefined
      ? await client.delete(key, { deadlineMs })
      : await client.deleteIf(key, expected, { deadlineMs }),
  );
  if (result !== undefined) assertHeld(key, 'deleted', result, options.json === true);
  const done = { key, deleted: true, version: result?.version };
  process.stdout.write(options.json === true ? `${JSON.stringify(done)}\n` : 'ok\n');
}
