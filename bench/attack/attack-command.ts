import { Command, Option } from 'commander';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { readDevPointer } from '../../src/cli/dev-pointer.ts';
import { CommandFailure, EXIT_FAILED, EXIT_WRONG_INPUT } from '../../src/cli/failure.ts';
import { findCluster } from '../../src/cli/find-cluster.ts';
import { jsonOption } from '../../src/cli/shared-options.ts';
import { untilStopSignal } from '../../src/cli/stop-signal.ts';
import { readConfiguration } from '../../src/trust/cluster-configuration.ts';
import type { Attack } from './attack.ts';
import { ATTACKS } from './attacks.ts';
import { startOwnCluster } from './own-cluster.ts';
import { describeAfter, describeBefore, describeEnd, describeHead, describeList, reportOf } from './report.ts';
import type { AttackReport } from './report.ts';
import { runAttacks } from './run.ts';
import { Scene } from './scene.ts';

interface AttackFlags {
  readonly list?: boolean;
  readonly connect?: string | true;
  /** Given: of a cluster of its own. */
  readonly mode?: SecurityMode;
  /** The own cluster has its keys from files. */
  readonly static?: boolean;
  readonly allowRestart?: boolean;
  readonly allowPlaintext?: boolean;
  readonly strict?: boolean;
  readonly json?: boolean;
}

/** 128 and the signal's number, as shells have it. */
const EXIT_INTERRUPTED = 130;

export function addAttack(program: Command): Command {
  return program.addCommand(attackCommand());
}

function attackCommand(): Command {
  return new Command('attack')
    .description('Attack a cluster as a hostile host, network or stranger can, and show what catches it.')
    .argument('[names...]', 'attacks to run (default: all)')
    .addOption(new Option('--list', 'show all attacks'))
    .addOption(
      new Option(
        '--connect [dir]',
        'attack this cluster, else the one in AVOCADO_CLUSTER, else the running avocado dev',
      ),
    )
    .addOption(
      new Option('--mode <mode>', 'attack a cluster of its own, of this mode')
        .choices(SECURITY_MODES)
        .conflicts('connect'),
    )
    .addOption(new Option('--static', 'let the cluster of its own have its keys from files instead of from a CAS'))
    .addOption(new Option('--allow-restart', 'on a running cluster, too, kill a replica, which then stays outside'))
    .addOption(new Option('--allow-plaintext', 'attack a cluster of mode plaintext, where most attacks succeed'))
    .addOption(new Option('--strict', 'an attack that could not be tried fails the command, too'))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Without --connect it attacks the running avocado dev; when there is none, or with --mode, a cluster of its own.
Attacks on memory need Linux and the right to write to the replicas' /proc/PID/mem; what can't be tried says why.
It puts keys of its own, which begin with "avocado attack", and deletes them at the end.
Exit code: 0 nothing succeeded, 1 an attack succeeded (with --strict: or was not tried), 2 wrong input.

Examples:
  avocado attack
  avocado attack --list
  avocado attack flip-value replay-datagrams --json
  avocado attack foreign-key --connect ./cluster
  avocado attack --mode plaintext --allow-plaintext`,
    )
    .action(attack);
}

async function attack(names: readonly string[], flags: AttackFlags): Promise<void> {
  const named = names.map(attackNamed);
  // In their own order: the last one costs a replica.
  const chosen = named.length === 0 ? ATTACKS : ATTACKS.filter((known) => named.includes(known));
  if (flags.list === true) {
    const list = chosen.map(({ name, power, deed }) => ({ name, power, deed }));
    process.stdout.write(flags.json === true ? `${JSON.stringify(list)}\n` : describeList(chosen));
    return;
  }
  const interrupted = new AbortController();
  void untilStopSignal().then((signal) =>
    interrupted.abort(new CommandFailure(`stopped by ${signal}`, EXIT_INTERRUPTED)),
  );
  const report = await attackCluster(chosen, flags, interrupted.signal);
  process.stdout.write(flags.json === true ? `${JSON.stringify(report)}\n` : describeEnd(report));
  if (report.succeeded > 0) {
    const culprits = report.attacks.filter(({ verdict }) => verdict === 'succeeded').map(({ name }) => name);
    throw new CommandFailure(`error: succeeded: ${culprits.join(', ')}`, EXIT_FAILED);
  }
  if (flags.strict === true && report.notTried > 0) {
    const missing = report.attacks.filter(({ verdict }) => verdict === 'not tried').map(({ name }) => name);
    throw new CommandFailure(`error: not tried: ${missing.join(', ')}`, EXIT_FAILED);
  }
}

function attackNamed(name: string): Attack {
  const found = ATTACKS.find((known) => known.name === name);
  if (found !== undefined) return found;
  throw new CommandFailure(
    `error: there is no attack ${JSON.stringify(name)}: give one or more of ${ATTACKS.map((known) => known.name).join(', ')}`,
    EXIT_WRONG_INPUT,
  );
}

async function attackCluster(
  chosen: readonly Attack[],
  flags: AttackFlags,
  signal: AbortSignal,
): Promise<AttackReport> {
  const running = runningCluster(flags);
  const mode = running === undefined ? (flags.mode ?? 'secure') : readConfiguration(running).mode;
  if (mode === 'plaintext' && flags.allowPlaintext !== true) {
    throw new CommandFailure(
      'error: mode plaintext protects nothing, so that most attacks succeed: to see that, give --allow-plaintext',
      EXIT_WRONG_INPUT,
    );
  }
  const isText = flags.json !== true;
  const keysFrom = flags.static === true ? 'files' : 'cas';
  const own = running === undefined ? await startOwnCluster({ mode, keysFrom, signal }) : undefined;
  try {
    const directory = running ?? own!.directory;
    const scene = await Scene.open({
      directory,
      isOwn: own !== undefined,
      mayRestart: flags.allowRestart ?? false,
      signal,
    });
    try {
      const head = { directory, own: own !== undefined, mode, replicas: scene.memberCount };
      if (isText) process.stdout.write(describeHead(head));
      const results = await runAttacks(scene, chosen, {
        before: (next) => void (isText && process.stdout.write(describeBefore(next))),
        after: (result) => void (isText && process.stdout.write(describeAfter(result))),
      });
      return reportOf(head, results);
    } finally {
      await scene.close();
    }
  } finally {
    await own?.stop();
  }
}

function runningCluster({ connect, mode }: AttackFlags): string | undefined {
  if (connect !== undefined) return findCluster(connect === true ? undefined : connect);
  return mode === undefined ? readDevPointer()?.directory : undefined;
}
