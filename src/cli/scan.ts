import { once } from 'node:events';
import { Command, Option } from 'commander';
import type { Client } from '../index.ts';
import type { ScannedKey, ScannedPair } from '../client/scans.ts';
import { bytesFor, encodedValue, encodingOf } from './describe-value.ts';
import {
  asOption,
  clusterOption,
  datagramBytesOption,
  enrolmentKeyOption,
  jsonOption,
  timeoutOption,
  wholeNumberBetween,
} from './shared-options.ts';
import { withClient } from './with-client.ts';
import type { ClientOptions } from './with-client.ts';

interface ScanCommandOptions extends Omit<ClientOptions, 'route'> {
  readonly start?: string;
  readonly end?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keys?: boolean;
  readonly count?: boolean;
}

export function scanCommand(): Command {
  return new Command('scan')
    .description('Print the keys of a range in bytewise order, with their values.')
    .argument('[prefix]', 'only keys that begin so')
    .option('--start <key>', 'the first key of the range (default: the first there is)')
    .option('--end <key>', 'the first key behind the range (default: none)')
    .option('--reverse', 'from the end of the range down')
    .option('--keys', 'keys only')
    .addOption(
      new Option('--limit <count>', 'keys at most (default: all)').argParser(
        wholeNumberBetween(1, Number.MAX_SAFE_INTEGER),
      ),
    )
    .addOption(
      new Option('--count', 'print how many keys there are, nothing else').conflicts(['keys', 'reverse', 'limit']),
    )
    .addOption(clusterOption())
    .addOption(asOption())
    .addOption(enrolmentKeyOption())
    .addOption(timeoutOption())
    .addOption(datagramBytesOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Keys are in the order of their bytes. Each pair is as a get would have returned it while the scan ran; all of
them together are no snapshot. The time limit is for connecting, and for each page.
A line a pair: key, tab, value, as they are; on a terminal with what is no printable text as \\x1b. With --json: a
JSON object a line; "keyEncoding" and "encoding" say how key and value are written, utf8 or base64.

Examples:
  avocado scan
  avocado scan user: --limit 10
  avocado scan --start 2026-01 --end 2026-02 --keys
  avocado scan user: --reverse --json
  avocado scan user: --count`,
    )
    .action(scan);
}

async function scan(prefix: string | undefined, options: ScanCommandOptions): Promise<void> {
  await withClient({ ...options, route: 'direct' }, (client, deadlineMs) => print(client, prefix, options, deadlineMs));
}

async function print(
  client: Client,
  prefix: string | undefined,
  { start, end, limit, reverse, keys, count, json }: ScanCommandOptions,
  deadlineMs: number,
): Promise<void> {
  const range = {
    ...(prefix !== undefined && { prefix }),
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    deadlineMs,
  };
  if (count === true) {
    const keyCount = await client.count(range);
    process.stdout.write(json === true ? `${JSON.stringify({ count: keyCount })}\n` : `${keyCount}\n`);
    return;
  }
  const pairs: AsyncGenerator<ScannedKey | ScannedPair> = client.scan({
    ...range,
    ...(limit !== undefined && { limit }),
    reverse: reverse ?? false,
    keysOnly: keys ?? false,
  });
  for await (const pair of pairs) {
    // Whoever reads is slower than the cluster: wait, or all of the range gathers here.
    if (!process.stdout.write(json === true ? lineOf(pair) : bytesOf(pair))) await once(process.stdout, 'drain');
  }
}

function bytesOf(pair: ScannedKey | ScannedPair): Uint8Array {
  const shown = (bytes: Buffer): Buffer => Buffer.from(bytesFor(process.stdout, bytes, true));
  const rest = 'value' in pair ? [Buffer.from('\t'), shown(pair.value)] : [];
  return Buffer.concat([shown(pair.key), ...rest, Buffer.from('\n')]);
}

function lineOf(pair: ScannedKey | ScannedPair): string {
  const keyEncoding = encodingOf(pair.key);
  const value = 'value' in pair ? encodedValue(pair.value) : {};
  return `${JSON.stringify({ key: pair.key.toString(keyEncoding), keyEncoding, ...value })}\n`;
}
