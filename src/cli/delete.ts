import { Command } from 'commander';
import { clusterOption, datagramBytesOption, jsonOption, routeOption, timeoutOption } from './shared-options.ts';
import { withClient } from './with-client.ts';
import type { ClientOptions } from './with-client.ts';

export function deleteCommand(): Command {
  return new Command('delete')
    .description('Remove a key and its value; also succeeds when there was none.')
    .argument('<key>', 'UTF-8, 1 to 1,024 bytes')
    .addOption(clusterOption())
    .addOption(timeoutOption())
    .addOption(routeOption())
    .addOption(datagramBytesOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  avocado delete greeting
  avocado delete greeting --json --timeout 500ms`,
    )
    .action(remove);
}

async function remove(key: string, options: ClientOptions): Promise<void> {
  await withClient(options, (client, deadlineMs) => client.delete(key, { deadlineMs }));
  process.stdout.write(options.json === true ? `${JSON.stringify({ key, deleted: true })}\n` : 'ok\n');
}
