import { Command, InvalidArgumentError, Option } from 'commander';
import { EVIDENCE_KINDS } from '../trust/evidence/evidence.ts';
import { ROLES } from '../trust/evidence/roles.ts';
import { durationMs } from './duration.ts';
import { jsonOption } from './shared-options.ts';
import type { ShowOptions } from './attest-show.ts';
import type { VerifyOptions } from './attest-verify.ts';

/** The modules that do the work are loaded only when asked for, as they load a good deal. */
export function attestCommand(): Command {
  return new Command('attest')
    .description('Make and verify evidence of trusted execution environments, offline.')
    .addCommand(showCommand())
    .addCommand(verifyCommand())
    .addCommand(schemaCommand())
    .addHelpText(
      'after',
      `
Examples:
  avocado attest show --out evidence.json
  avocado attest verify evidence.json --policy dev
  avocado attest verify https://10.0.0.1:7480 --policy policy.json --role cas`,
    );
}

function showCommand(): Command {
  return new Command('show')
    .description('Say which kinds of evidence this machine can make, and show or store one.')
    .addOption(new Option('--kind <kind>', 'only this one; it fails where it is missing').choices(EVIDENCE_KINDS))
    .addOption(reportDataOption('what the evidence is to bind, up to 64 bytes in hexadecimal, zeros follow'))
    .option('--out <file>', 'store the evidence')
    .addOption(
      new Option('--vendor-latency <duration>', "how long the simulated vendor's service takes (default: 0)").argParser(
        durationMs,
      ),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Without --kind the first that can be made is shown: sev-snp, tdx, sgx, simulated. What is shown was not judged by a policy.

Examples:
  avocado attest show
  avocado attest show --kind sev-snp --report-data 00ff --out evidence.json
  avocado attest show --json`,
    )
    .action(async (options: ShowOptions) => (await import('./attest-show.ts')).show(options));
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('Verify evidence and judge it by a policy: the verdict, then the facts. Exit code 1 when refused.')
    .argument(
      '<file>',
      'evidence, as avocado attest show --out stores it; - reads standard input; https://... asks a CAS',
    )
    .requiredOption('--policy <file>', 'who is accepted; dev accepts this build on simulated platforms')
    .addOption(new Option('--role <role>', 'in which role').choices(ROLES).default('replica'))
    .addOption(
      new Option(
        '--time <time>',
        'the time to judge validity at, like 2025-06-20 or 2025-06-20T12:00:00Z (default: now)',
      ).argParser(timeMs),
    )
    .option('--collateral <file>', "what the vendor publishes: PEM for SNP, Intel's collateral as JSON for TDX and SGX")
    .addOption(reportDataOption('64 bytes, in hexadecimal, that the evidence must bind; zeros follow'))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Asks nobody but the CAS, if one is named: certificates, revocation lists and their times are judged from the files alone. docs/trust.md says where the
files come from and what each check stops; avocado attest schema prints a schema of the policy.

Examples:
  avocado attest verify evidence.json --policy policy.json --collateral milan.pem
  avocado attest verify evidence.json --policy policy.json --role client --time 2025-06-20 --json
  avocado attest show --out - | avocado attest verify - --policy dev
  avocado attest verify https://10.0.0.1:7480 --policy policy.json --role cas`,
    )
    .action(async (file: string, options: VerifyOptions) => (await import('./attest-verify.ts')).verify(file, options));
}

function schemaCommand(): Command {
  return new Command('schema')
    .description('Print the JSON Schema of policy files.')
    .addHelpText(
      'after',
      `
Examples:
  avocado attest schema > policy.schema.json`,
    )
    .action(async () => {
      const { policySchema } = await import('../trust/evidence/policy.ts');
      process.stdout.write(`${JSON.stringify(policySchema(), null, 2)}\n`);
    });
}

function reportDataOption(description: string): Option {
  return new Option('--report-data <hex>', description).argParser((text): Uint8Array => {
    if (!/^(?:[0-9a-f]{2}){1,64}$/i.test(text)) {
      throw new InvalidArgumentError('Give 1 to 64 bytes in hexadecimal.');
    }
    const bytes = new Uint8Array(64);
    bytes.set(Buffer.from(text, 'hex'));
    return bytes;
  });
}

/** A date alone is its beginning, UTC; times of other zones carry theirs. */
function timeMs(text: string): number {
  const isTime = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const parsedMs = isTime ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(parsedMs)) return parsedMs;
  throw new InvalidArgumentError('Give a time like 2025-06-20 or 2025-06-20T12:00:00Z.');
}
