import { writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { durationMs } from '../../src/cli/duration.ts';
import { wholeNumberBetween } from '../../src/cli/shared-options.ts';
import { createProgress } from '../progress.ts';
import { untilSignal } from '../until-signal.ts';

interface AttestationFlags {
  readonly enclaves: number;
  readonly vendorLatency: number;
  readonly json?: string;
  readonly quiet?: boolean;
}

const ENCLAVES_DEFAULT = 5;
const ENCLAVES_MAX = 1_000;
/** What the paper's authors saw of Intel's attestation service. */
const VENDOR_LATENCY_MS = 2_900;

export function attestationCommand(): Command {
  return new Command('attestation')
    .description('Measure how long enclaves take to get their keys, by the vendor alone and through LAS.')
    .addOption(
      new Option('--enclaves <count>', 'admitted one after the other, each way')
        .argParser(wholeNumberBetween(1, ENCLAVES_MAX))
        .default(ENCLAVES_DEFAULT),
    )
    .addOption(
      new Option('--vendor-latency <duration>', "how long the simulated vendor's service takes")
        .argParser(durationMs)
        .default(VENDOR_LATENCY_MS, '2.9s'),
    )
    .option('--json <file>', 'write the report to FILE as JSON too')
    .option('--quiet', 'no progress on stderr')
    .addHelpText(
      'after',
      `
Examples:
  avocado bench attestation
  avocado bench attestation --enclaves 20 --vendor-latency 500ms --json attestation.json`,
    )
    .action(measure);
}

async function measure(flags: AttestationFlags): Promise<void> {
  // Loaded when it is run: all commands load this file.
  const { runAttestation } = await import('./run.ts');
  const { formatAttestation } = await import('./report.ts');
  const progress = createProgress(process.stderr, flags.quiet ?? false);
  const report = await untilSignal((signal) =>
    runAttestation({
      enclaves: flags.enclaves,
      vendorLatencyMs: flags.vendorLatency,
      signal,
      progress: (line) => progress.update(line),
    }),
  );
  progress.clear();
  process.stdout.write(formatAttestation(report));
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
}
