import { Command, InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../../net/mode.ts';
import { ADMISSIONS } from '../trust/chain/admissions.ts';
import { OPERATORS_MAX } from '../trust/chain/operators-max.ts';
import type { Profile } from '../trust/chain/profiles.ts';
import type { EvidenceKind } from '../trust/evidence/evidence.ts';
import type { KeySpace } from '../trust/key-space.ts';
import { grantsText } from '../trust/grant-text.ts';
import { PROFILE_NAME_PATTERN } from '../trust/profile-name.ts';
import {
  casOption,
  casPolicyOption,
  collateralOption,
  listenAddress,
  machineOption,
  teeOption,
  vendorLatencyOption,
} from './chain-options.ts';
import { grantsOf } from './grants-option.ts';
import { parseMembers } from './init.ts';
import { jsonOption, modeOption, wholeNumberBetween } from './shared-options.ts';

/** The modules that do the work are loaded only when asked for. */
export interface CasRunOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly tee: EvidenceKind;
  readonly machine?: string;
  readonly vendorLatency?: number;
  readonly collateral?: string;
}

export interface CasNewOptions extends CasRunOptions {
  readonly members: { host: string; port: number }[];
  readonly mode: SecurityMode;
  readonly policy: string;
  readonly admission: (typeof ADMISSIONS)[number];
  readonly certificateHours: number;
  readonly profile?: Profile[];
  readonly space?: KeySpace[];
  readonly refreshSeconds: number;
  readonly operator: string[];
  readonly operatorThreshold?: number;
}

export interface CasCallOptions {
  readonly cas: string;
  readonly tee: EvidenceKind;
  readonly machine?: string;
  readonly casPolicy?: string;
  readonly collateral?: string;
  readonly operatorKey: string;
  readonly json?: boolean;
}

export interface CasProfileOptions extends CasCallOptions {
  readonly measurement?: string[];
  readonly enrolmentKey?: string;
}

const CERTIFICATE_HOURS_DEFAULT = 24;
const REFRESH_SECONDS_DEFAULT = 10;
const REFRESH_SECONDS_MAX = 60;
const CERTIFICATE_HOURS_MAX = 24 * 365;

export function casCommand(): Command {
  return new Command('cas')
    .description("Run a cluster's configuration and attestation service, and tell it what operators want.")
    .addCommand(newCommand())
    .addCommand(runCommand())
    .addCommand(showCommand())
    .addCommand(operatorKeyCommand())
    .addCommand(revokeKeyCommand())
    .addCommand(revokeLasCommand())
    .addCommand(setPolicyCommand())
    .addCommand(reFormCommand())
    .addCommand(rotateCommand())
    .addCommand(setProfileCommand())
    .addCommand(removeProfileCommand())
    .addCommand(profilesCommand())
    .addCommand(enrolmentKeyCommand())
    .addCommand(confirmCommand())
    .addCommand(recoverCommand())
    .addCommand(shareCommand())
    .addHelpText(
      'after',
      `
Examples:
  avocado cas new ./cas --policy dev --operator <public keys> --members 127.0.0.1:7400
  avocado cas run ./cas
  avocado cas show --cas https://127.0.0.1:7480#<key>
  avocado cas profiles --cas https://127.0.0.1:7480#<key> --operator-key operator.json`,
    );
}

function newCommand(): Command {
  return service(new Command('new'))
    .description('Make a new cluster, with keys that exist nowhere else, and serve it until Ctrl-C.')
    .requiredOption('--members <host:port,...>', 'UDP addresses of the replicas, an odd number of them', parseMembers)
    .requiredOption(
      '--policy <file>',
      'who may take part, see avocado attest schema; dev accepts this build on simulated platforms',
    )
    .requiredOption('--operator <public key...>', 'whose commands are obeyed; avocado cas operator-key prints them')
    .option(
      '--operator-threshold <count>',
      'so many operators together replace the policy, and recover the state when the machine is lost (default: most of them)',
      wholeNumberBetween(1, OPERATORS_MAX),
    )
    .addOption(modeOption())
    .addOption(
      new Option('--admission <how>', 'on whose word replicas and clients are admitted: las, direct evidence, or both')
        .choices(ADMISSIONS)
        .default('las'),
    )
    .option(
      '--certificate-hours <hours>',
      'how long certificates are good for; they are renewed at half of it',
      wholeNumberBetween(1, CERTIFICATE_HOURS_MAX),
      CERTIFICATE_HOURS_DEFAULT,
    )
    .option(
      '--profile <name=grants>',
      'what clients that name it may do: RIGHTS:PREFIX,... with rights r, w, a; may be given several times (default: default=rwa:)',
      profileGiven,
    )
    .option(
      '--refresh-seconds <seconds>',
      'how often members and clients look for revocations and new data keys',
      wholeNumberBetween(1, REFRESH_SECONDS_MAX),
      REFRESH_SECONDS_DEFAULT,
    )
    .option(
      '--space <name=prefix>',
      'keys with this prefix have data keys of their own; may be given several times',
      keySpace,
    )
    .addHelpText(
      'after',
      `
All of this but policy and profiles is fixed from now on. The hash of all of it is in the evidence of CAS: compare it with
avocado cas show. The policy is replaced by avocado cas set-policy, a profile by set-profile.

Examples:
  avocado cas operator-key operator.json
  avocado cas new /var/lib/avocado --listen 10.0.0.1:7480 --policy policy.json --operator <public key> \\
    --members 10.0.0.1:7400,10.0.0.2:7400,10.0.0.3:7400
  avocado cas new ./cas --policy dev --operator <public key> --members 127.0.0.1:7400
  avocado cas new ./cas --policy dev --operator <public key> --members 127.0.0.1:7400 \\
    --space billing=billing/ --space users=users/ --profile default=r:users/ --profile billing=rw:billing/`,
    )
    .action(async (directory: string, options: CasNewOptions) =>
      (await import('./cas-serve.ts')).serveNew(directory, options),
    );
}

function runCommand(): Command {
  return service(new Command('run'))
    .description('Serve the cluster whose state is in a directory, until Ctrl-C.')
    .addHelpText(
      'after',
      `
It serves once a majority of its witnesses, the LASes, knows of no later state; when they are gone, an operator confirms.

Examples:
  avocado cas run /var/lib/avocado --listen 10.0.0.1:7480`,
    )
    .action(async (directory: string, options: CasRunOptions) =>
      (await import('./cas-serve.ts')).serve(directory, options),
    );
}

function service(command: Command): Command {
  return command
    .argument('<dir>', "directory of CAS's sealed state and audit log")
    .addOption(
      new Option('--listen <host:port>', 'where everybody reaches it')
        .argParser(listenAddress)
        .default({ host: '127.0.0.1', port: 7480 }, '127.0.0.1:7480'),
    )
    .addOption(teeOption())
    .addOption(machineOption())
    .addOption(vendorLatencyOption())
    .addOption(collateralOption());
}

function showCommand(): Command {
  return call(new Command('show'))
    .description(
      'Verify a CAS by its evidence and print what it says of itself. Exit code 1 when it is not to be trusted.',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  avocado cas show --cas https://10.0.0.1:7480#<key> --cas-policy policy.json`,
    )
    .action(async (options: CasCallOptions) => (await import('./cas-operate.ts')).show(options));
}

function operatorKeyCommand(): Command {
  return new Command('operator-key')
    .description('Make the key pair of an operator, and print its public half.')
    .argument('<file>', 'file to write, for its owner only')
    .addHelpText(
      'after',
      `
Examples:
  avocado cas operator-key operator.json`,
    )
    .action(async (path: string) => (await import('./cas-operate.ts')).makeOperatorKey(path));
}

function revokeKeyCommand(): Command {
  return operatorCall(new Command('revoke-key'))
    .description('Revoke the certificates of one process; members refuse it with their next look at CAS.')
    .argument('<static key>', 'hexadecimal, as the audit log has it', hexDigits(64))
    .addHelpText(
      'after',
      `
Examples:
  avocado cas revoke-key 3f01... --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (staticKey: string, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 'revoke-key', staticKey }),
    );
}

function revokeLasCommand(): Command {
  return operatorCall(new Command('revoke-las'))
    .description('Revoke a LAS, and everything that it vouched for.')
    .argument('<las id>', 'as the audit log has it', hexDigits(16))
    .addHelpText(
      'after',
      `
Examples:
  avocado cas revoke-las 1f0a22b3c4d5e6f7 --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (lasId: string, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 'revoke-las', lasId }),
    );
}

function setPolicyCommand(): Command {
  return operatorCall(new Command('set-policy'))
    .description('Replace the policy, once as many operators as it takes have sent the same file.')
    .argument('<file>', 'the new policy, see avocado attest schema')
    .addHelpText(
      'after',
      `
It takes as many operators as recover the state together: who decides the policy decides who gets the data keys. It is judged
by from the next join and renewal on. What was admitted before stays until its certificate expires; revoke-key and revoke-las
end it at once.

Examples:
  avocado cas set-policy policy.json --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (path: string, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).setPolicy(path, options),
    );
}

function reFormCommand(): Command {
  return operatorCall(new Command('re-form'))
    .description('Begin the next epoch with no members, for replicas that were all started anew. Their data is gone.')
    .addHelpText(
      'after',
      `
Examples:
  avocado cas re-form --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 're-form' }),
    );
}

function rotateCommand(): Command {
  return operatorCall(new Command('rotate'))
    .description(
      'Bring the next data key of a key space into service, and destroy the present one once nothing needs it.',
    )
    .argument('[space]', 'of the keys', 'default')
    .addHelpText(
      'after',
      `
Members and clients fetch the new key, then use it; members seal anew what lies under the old one. avocado cas show
tells how far that has come and whom it waits for, avocado status how many values are left.

Examples:
  avocado cas rotate --cas https://10.0.0.1:7480#<key> --operator-key operator.json
  avocado cas rotate billing --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (space: string, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 'rotate-key', space }),
    );
}

function setProfileCommand(): Command {
  return operatorCall(new Command('set-profile'))
    .description('Say what clients with a profile may do, and who may have it, from their next join or renewal on.')
    .argument('<name>', 'clients give it with --as; default is the one of those that give none', profileName)
    .argument('<grants>', 'RIGHTS:PREFIX,... with rights r read, w write, a admin')
    .option('--measurement <hash...>', 'builds that may have it (default: all that the policy accepts as clients)')
    .option(
      '--enrolment-key <public key>',
      'whoever has it signs with the secret half, see avocado cas enrolment-key',
      hexDigits(64),
    )
    .addHelpText(
      'after',
      `
It takes as many operators as a new policy: each sends the same command. Certificates that were given stay as they are.

Examples:
  avocado cas set-profile billing rw:billing/ --cas https://10.0.0.1:7480#<key> --operator-key operator.json
  avocado cas set-profile default r:public/ --cas https://10.0.0.1:7480#<key> --operator-key operator.json
  avocado cas set-profile auditor r:,a: --enrolment-key 3f01... --cas https://10.0.0.1:7480#<key> \\
    --operator-key operator.json`,
    )
    .action(async (name: string, grants: string, options: CasProfileOptions) =>
      (await import('./cas-operate.ts')).setProfile(name, grants, options),
    );
}

function removeProfileCommand(): Command {
  return operatorCall(new Command('remove-profile'))
    .description('Admit and renew no more clients with a profile.')
    .argument('<name>', 'of the profile', profileName)
    .addHelpText(
      'after',
      `
Examples:
  avocado cas remove-profile billing --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (name: string, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 'remove-profile', name }),
    );
}

function profilesCommand(): Command {
  return operatorCall(new Command('profiles'))
    .description('List the profiles, and which clients have certificates by them, until when.')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Revoked clients are left out. A client is named by its static key, as in the audit log: avocado cas revoke-key takes it.

Examples:
  avocado cas profiles --cas https://10.0.0.1:7480#<key> --operator-key operator.json
  avocado cas profiles --cas https://10.0.0.1:7480#<key> --operator-key operator.json --json`,
    )
    .action(async (options: CasCallOptions) => (await import('./cas-profiles.ts')).listProfiles(options));
}

function enrolmentKeyCommand(): Command {
  return new Command('enrolment-key')
    .description('Make the key pair by which clients show that they belong to a profile, and print its public half.')
    .argument('<file>', 'file to write, for its owner only')
    .addHelpText(
      'after',
      `
Examples:
  avocado cas enrolment-key auditor.json
  avocado get orders/1 --cluster https://10.0.0.1:7480#<key> --as auditor --enrolment-key auditor.json`,
    )
    .action(async (path: string) => (await import('./cas-operate.ts')).makeEnrolmentKey(path));
}

function confirmCommand(): Command {
  return operatorCall(new Command('confirm'))
    .description('Confirm the state that CAS was started from, when no majority of its witnesses is left to do so.')
    .argument(
      '<counter>',
      'of the state, as avocado cas show prints it',
      wholeNumberBetween(0, Number.MAX_SAFE_INTEGER),
    )
    .addHelpText(
      'after',
      `
Compare the counter and the end of the audit log with what you last saw: an older state knows fewer revocations.

Examples:
  avocado cas confirm 42 --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (stateCounter: number, options: CasCallOptions) =>
      (await import('./cas-operate.ts')).operate(options, { type: 'confirm-state', stateCounter }),
    );
}

function recoverCommand(): Command {
  return service(new Command('recover'))
    .description(
      'Serve a cluster whose CAS lost its machine, from its backup, once enough operators have sent their shares.',
    )
    .addHelpText(
      'after',
      `
The directory holds what was copied from the lost one in time: cas-backup.sealed, recovery-shares.json, audit.log.

Examples:
  avocado cas recover /var/lib/avocado --listen 10.0.0.1:7480`,
    )
    .action(async (directory: string, options: CasRunOptions) =>
      (await import('./cas-serve.ts')).recover(directory, options),
    );
}

function shareCommand(): Command {
  return operatorCall(new Command('share'))
    .description("Verify a CAS that recovers, and send it this operator's share.")
    .argument('<file>', 'recovery-shares.json; only the own share in it can be opened')
    .addHelpText(
      'after',
      `
Examples:
  avocado cas share recovery-shares.json --cas https://10.0.0.1:7480#<key> --operator-key operator.json`,
    )
    .action(async (path: string, options: CasCallOptions) => (await import('./cas-operate.ts')).share(path, options));
}

function call(command: Command): Command {
  return command
    .addOption(casOption().makeOptionMandatory())
    .addOption(casPolicyOption())
    .addOption(teeOption())
    .addOption(machineOption())
    .addOption(collateralOption());
}

function operatorCall(command: Command): Command {
  return call(command).requiredOption('--operator-key <file>', 'made by avocado cas operator-key');
}

function profileName(text: string): string {
  if (PROFILE_NAME_PATTERN.test(text)) return text;
  throw new InvalidArgumentError('Give a name of 1 to 32 of a-z, 0-9 and -.');
}

function profileGiven(text: string, before: Profile[] = []): Profile[] {
  const separator = text.indexOf('=');
  if (separator === -1) throw new InvalidArgumentError('Give a name and its grants, e.g. billing=rw:billing/.');
  const grants = grantsText(grantsOf(text.slice(separator + 1)));
  return [...before, { name: profileName(text.slice(0, separator)), grants, measurements: null, enrolmentKey: null }];
}

/** Their rules are CAS's. */
function keySpace(text: string, before: KeySpace[] = []): KeySpace[] {
  const separator = text.indexOf('=');
  if (separator === -1) throw new InvalidArgumentError('Give a name and a prefix of keys, e.g. billing=billing/.');
  return [...before, { name: text.slice(0, separator), prefix: Buffer.from(text.slice(separator + 1)) }];
}

function hexDigits(count: number): (text: string) => string {
  return (text) => {
    if (text.length === count && /^[0-9a-f]*$/.test(text)) return text;
    throw new InvalidArgumentError(`Give ${count} lower-case hexadecimal digits.`);
  };
}
