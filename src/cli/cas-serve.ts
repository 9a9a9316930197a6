import { runCas } from '../trust/chain/cas-service.ts';
import type { CasServiceOptions } from '../trust/chain/cas-service.ts';
import { parseOperatorName } from '../trust/chain/operator-file.ts';
import type { Platform } from '../trust/chain/platform.ts';
import { recoverState } from '../trust/chain/recovery.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import type { CasSettings } from '../trust/chain/cas-init.ts';
import type { CasEvent } from '../trust/chain/chain-events.ts';
import { evidenceJudge, openPlatform, readText } from '../trust/chain/chain-access.ts';
import { policyOfBuild } from '../trust/chain/build-policy.ts';
import { Policy } from '../trust/evidence/policy.ts';
import { measureOwnBuild } from '../trust/measure/own-build.ts';
import { AvocadoError } from '../errors.ts';
import type { CasNewOptions, CasRunOptions } from './cas.ts';
import { ownCommandLine } from './own-command-line.ts';
import { untilStopSignal } from './stop-signal.ts';

const SECONDS_AN_HOUR = 3_600;

export async function serveNew(directory: string, options: CasNewOptions): Promise<void> {
  const policy =
    options.policy === 'dev' ? policyOfBuild('simulated', measureOwnBuild().hash) : readText(options.policy);
  Policy.parse(policy, options.policy);
  const operators = options.operator.map((text) => {
    const name = parseOperatorName(text);
    if (name !== undefined) return name;
    throw new AvocadoError('INVALID_ARGUMENT', 'an operator is given as avocado cas operator-key prints it');
  });
  const threshold = options.operatorThreshold ?? Math.floor(operators.length / 2) + 1;
  const settings: CasSettings = {
    mode: options.mode,
    members: options.members,
    policy,
    admission: options.admission,
    certificateSeconds: options.certificateHours * SECONDS_AN_HOUR,
    refreshSeconds: options.refreshSeconds,
    ...(options.profile !== undefined && { profiles: options.profile }),
    ...(options.space !== undefined && { spaces: options.space }),
    operators: operators.map(({ signing }) => signing),
    policyThreshold: threshold,
  };
  await serve(directory, options, {
    settings,
    recovery: {
      recoveryKeys: operators.map(({ recovery }) => recovery),
      threshold,
    },
  });
}

/** Then it goes on as any CAS that was started again. */
export async function recover(directory: string, options: CasRunOptions): Promise<void> {
  const stopping = new AbortController();
  void untilStopSignal().then((signal) => stopping.abort(new CommandFailure(`stopped by ${signal}`, EXIT_FAILED)));
  const recovered = await recoverState({
    directory,
    host: options.listen.host,
    port: options.listen.port,
    platform: platformOf(options),
    signal: stopping.signal,
    nowMs: Date.now,
    onWaiting: (url, threshold) =>
      log(`at ${url} waits for ${threshold} shares: avocado cas share, by as many operators`),
    onError: (error) => log(`failed: ${String(error)}`),
  });
  await serve(directory, options, { recovered });
}

type Origin = Pick<CasServiceOptions, 'settings' | 'recovery' | 'recovered'>;

/** @param origin Left out: the state in the directory. */
export async function serve(directory: string, options: CasRunOptions, origin: Origin = {}): Promise<void> {
  const stopped = untilStopSignal();
  const platform = platformOf(options);
  const running = await runCas({
    directory,
    host: options.listen.host,
    port: options.listen.port,
    platform,
    judge: evidenceJudge(options.tee, options.collateral),
    ...origin,
    nowMs: Date.now,
    onEvent: (event) => log(describe(event)),
    onError: (error) => log(`failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
  });
  const { reference, cas } = running;
  log(`is ${reference}, on a ${platform.kind} platform; its state is sealed by ${platform.sealing.description}`);
  if (!cas.isServing) {
    log(
      `waits for its witnesses, or for an operator: ${ownCommandLine()} cas confirm ${cas.document.stateCounter} --cas ${reference} --operator-key FILE`,
    );
  }
  const signal = await stopped;
  log(`ends on ${signal}`);
  await running.close();
}

function platformOf({ tee, machine, vendorLatency }: CasRunOptions): Platform {
  return openPlatform({
    tee,
    ...(machine !== undefined && { machine }),
    ...(vendorLatency !== undefined && { vendorLatencyMs: vendorLatency }),
  });
}

function log(line: string): void {
  process.stdout.write(`${new Date().toISOString()} cas ${line}\n`);
}

function describe(event: CasEvent): string {
  switch (event.type) {
    case 'las-attested':
      return `attested LAS ${event.lasId} at ${event.url} in ${Math.round(event.ms)} ms`;
    case 'admitted': {
      const who = event.memberIndex === null ? event.role : `${event.role} ${event.memberIndex}`;
      const by = event.lasId === null ? 'evidence' : `LAS ${event.lasId}`;
      return `admitted ${who} by ${by} in ${Math.round(event.ms)} ms`;
    }
    case 'refused': {
      const about = Object.entries(event.about).map(([name, value]) => `${name} ${String(value)}`);
      return `refused ${about.join(', ')} by rule ${event.rule}: allowed ${event.allowed}; seen ${event.seen}`;
    }
    case 'lapsed':
      return `takes replica ${event.memberIndex} for revoked until it is admitted again: its certificate has ended`;
    case 'data-key':
      return `data key ${event.id} of key space ${event.space} is ${event.phase}`;
    case 'serving':
      return `serves, confirmed by ${event.confirmedBy}`;
    case 'overtaken':
      return `decides nothing any more: ${event.witness} holds its word for state ${event.counter}; its disk was turned back, or there are two of it`;
  }
}
