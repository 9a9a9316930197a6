import { Command } from 'commander';
import { jsonOption } from './shared-options.ts';
import { formatTable } from './table.ts';

interface MeasureOptions {
  readonly list?: boolean;
  readonly files?: boolean;
  readonly json?: boolean;
}

export function measureCommand(): Command {
  return new Command('measure')
    .description('Print one hash of what runs here: node, the built files, and all packages that they load.')
    .option('--list', 'print the hash of each part, too')
    .option('--files', 'print the hash of each file, too: to find where two builds differ')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The hash (SHA-384) is over names and contents of: the node binary that runs this, package.json, dist/ without tests, and
every file of every package in node_modules that these can load, found as node finds them. Order, times, owners and where
it all lies do not count, so that machines with one version of node, one processor and operating system, and one commit,
installed with npm ci and built, have one hash. A dependency that was tampered with changes it: what counts is what lies in
node_modules, not what package-lock.json says ought to lie there.

It is what simulated evidence reports as its measurement. On SEV-SNP, TDX and SGX the hardware measures the machine's or
enclave's image; there it tells what to compare an image's content with. Shared libraries, the kernel, NODE_OPTIONS and
other environment are no part of it.

Examples:
  avocado measure
  avocado measure --list
  avocado measure --files > here.txt; ssh other avocado measure --files | diff here.txt -
  avocado measure --json`,
    )
    .action(measure);
}

async function measure(options: MeasureOptions): Promise<void> {
  const { measureOwnBuild } = await import('../trust/measure/own-build.ts');
  const { hash, parts } = measureOwnBuild();
  const shownParts = parts.map((part) => ({
    name: part.name,
    hash: part.hash,
    ...(options.files === true ? { files: part.files } : {}),
  }));
  const isListed = options.list === true || options.files === true;
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ hash, ...(isListed ? { parts: shownParts } : {}) })}\n`);
    return;
  }
  process.stdout.write(`${hash}\n`);
  if (!isListed) return;
  const rows = parts.flatMap((part) => [
    [part.hash, part.name],
    ...(options.files === true ? part.files.map((file) => [file.hash, `${part.name}: ${file.path}`]) : []),
  ]);
  process.stdout.write(formatTable(rows));
}
