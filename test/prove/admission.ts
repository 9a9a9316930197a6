import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttestationReport } from '../../bench/attestation/run.ts';
import { CHAIN_ATTACKS } from '../../bench/attack/attacks.ts';
import type { AttackResult } from '../../bench/attack/run.ts';
import type { AuditEntry } from '../../src/trust/chain/audit-log.ts';
import { policyOfBuild } from '../../src/trust/chain/build-policy.ts';
import { measureOwnBuild } from '../../src/trust/measure/own-build.ts';
import { attackOwnCluster } from '../attack/own-cluster.ts';
import { finished, makeSandbox } from '../cli/avocado-process.ts';
import { ProcessChain } from '../cli/process-chain.ts';
import { scanForSecrets } from '../processes/secret-scan.ts';
import { until } from '../processes/until.ts';
import { BuildCopy } from './build-copy.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/** The paper's figure: what LAS saves against Intel's attestation service of its time. */
const TIMES_FASTER_MIN = 17;
const VENDOR_LATENCY_MS = 2_900;
const ENCLAVES = 20;
const QUICK_ENCLAVES = 5;

export const admission: Proof = {
  name: 'admission',
  subject: 'keys go to attested processes only, in milliseconds, and nowhere else',
  timeoutMs: 10 * MINUTE_MS,
  run: async (context) => [
    await proveChangedBuild(context),
    await proveSpeed(context),
    await proveAttacks(context),
    await proveSecrecy(context),
  ],
};

/** One byte more in each: the product's code, what names its packages, and the code of one of these. */
const DEPENDENCY = 'noise-handshake';
const CHANGED = [
  'dist/src/protocol/coordinator.js',
  'dist/net/wire.js',
  'package.json',
  `node_modules/${DEPENDENCY}/package.json`,
];
const REFUSED_IN_MS = MINUTE_MS;

/** CAS, LAS and replicas as processes of their own; the changed build knows how to judge CAS as the genuine one. */
async function proveChangedBuild(context: ProofContext): Promise<ClaimResult> {
  const sandbox = makeSandbox();
  const ends: (() => Promise<void>)[] = [];
  try {
    context.progress('CAS and LAS start');
    const onEnd = (end: () => Promise<void>): void => void ends.push(end);
    const chain = await ProcessChain.start(sandbox, onEnd, { memberCount: 1, casOptions: ['--admission', 'both'] });
    const casPolicy = join(context.directory, 'genuine.json');
    writeFileSync(casPolicy, policyOfBuild('simulated', measureOwnBuild().hash));
    const copy = new BuildCopy(join(context.directory, 'copy'), DEPENDENCY);
    const common = [
      'replica',
      '--index',
      '0',
      '--cas',
      chain.reference,
      '--machine',
      chain.machine,
      '--cas-policy',
      casPolicy,
    ];
    const start = (way: readonly string[]): ChildProcess =>
      spawn(process.execPath, [copy.main, ...common, ...way], {
        env: sandbox.environment,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    const ways = { 'through LAS': ['--las', chain.lasUrl], 'with evidence of its own': [] };
    const attempts: { readonly file: string; readonly way: string; readonly said: string; readonly ok: boolean }[] = [];
    for (const file of CHANGED) {
      for (const [way, options] of Object.entries(ways)) {
        context.progress(`a replica with one byte more in ${file}, ${way}`);
        const { exitCode, said } = await copy.changed(file, () => endOf(start(options)));
        attempts.push({ file, way, said, ok: exitCode === 1 && /refused by rule measurement:/.test(said) });
      }
    }
    const entries = await auditOf(chain);
    const refused = entries.filter(
      ({ event, detail }) => event === 'refused' && detail['rule'] === 'measurement',
    ).length;
    const admittedBefore = entries.filter(({ event }) => event === 'admitted').length;
    context.progress('the same copy with no byte changed');
    const genuine = start(ways['through LAS']);
    ends.push(() => kill(genuine));
    const isActive = await becomesActive(genuine);
    const missed = attempts.filter(({ ok }) => !ok).map(({ file, way, said }) => `${file} ${way}: ${said}`);
    return {
      claim: 'a replica with a changed build never gets a key: refused by its measurement, through LAS and directly',
      ok: missed.length === 0 && refused === attempts.length && admittedBefore === 0 && isActive,
      figures:
        missed.length === 0
          ? `one byte more in each of ${CHANGED.join(', ')}: ${attempts.length} of ${attempts.length} attempts end with rule measurement; ` +
            `CAS's log has ${refused} refusals by it and ${admittedBefore} admissions; unchanged, the same copy is ${isActive ? 'admitted and serves' : 'NOT ADMITTED'} (simulated platform)`
          : missed.join('; '),
      data: { attempts, refused, admittedBefore, isActive },
    };
  } finally {
    for (const end of ends.toReversed()) await end();
    sandbox.remove();
  }
}

/** One that is let in would run for good. */
async function endOf(child: ChildProcess): Promise<{ readonly exitCode: number | null; readonly said: string }> {
  const timer = setTimeout(() => child.kill('SIGKILL'), REFUSED_IN_MS);
  child.stdout!.on('data', (part: Buffer) => {
    if (part.includes(' active')) child.kill('SIGKILL');
  });
  const { exitCode, stdout, stderr } = await finished(child);
  clearTimeout(timer);
  return { exitCode, said: (stderr || stdout).trim() };
}

async function becomesActive(child: ChildProcess): Promise<boolean> {
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (part: Buffer) => (said += part.toString()));
  await until(() => / active/.test(said) || child.exitCode !== null, 'the genuine build to serve');
  return / active/.test(said);
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await ended;
}

async function auditOf(chain: ProcessChain): Promise<AuditEntry[]> {
  const args = ['audit', 'verify', chain.path('cas/audit.log'), '--key', chain.reference, '--list', '--json'];
  const { stdout, exitCode } = await chain.run(...args);
  if (exitCode !== 0) throw new Error(`the audit log is not whole: ${stdout}`);
  // The verdict comes last.
  const lines = stdout.trimEnd().split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as AuditEntry);
}

async function proveSpeed(context: ProofContext): Promise<ClaimResult> {
  const enclaves = context.quick ? QUICK_ENCLAVES : ENCLAVES;
  const args = ['attestation', '--enclaves', String(enclaves), '--vendor-latency', `${VENDOR_LATENCY_MS}ms`];
  const report = await bench<AttestationReport>(context, `${enclaves} enclaves, by the vendor and through LAS`, args);
  const { las, vendor, timesFaster, timesFasterWithLas, lasAttestedMs } = report;
  return {
    claim: `admission through LAS is at least ${TIMES_FASTER_MIN} times faster than through a vendor's service of ${VENDOR_LATENCY_MS / 1_000} s`,
    ok: timesFaster >= TIMES_FASTER_MIN && report.enclaves === enclaves && report.vendorLatencyMs === VENDOR_LATENCY_MS,
    figures:
      `${timesFaster.toFixed(1)} times: ${las.medianMs.toFixed(1)} ms instead of ${count(vendor.medianMs)} ms (medians of ${enclaves} each, slowest ${las.maxMs.toFixed(1)} ms and ${count(vendor.maxMs)} ms); ` +
      `${timesFasterWithLas.toFixed(1)} times with LAS's own attestation, once, of ${count(lasAttestedMs)} ms`,
    data: { ...report },
  };
}

/** What the attacker is told, or what is found out about it. */
export const REASONS: Readonly<Record<string, RegExp>> = {
  'changed-build': /^refused by rule measurement$/,
  'debug-enclave': /^refused by rule debug$/,
  'forged-las': /^refused by rule voucher$/,
  'replayed-voucher': /^refused by rule nonce$/,
  'other-key': /^refused by rule report-data$/,
  'replayed-evidence': /^refused by rule report-data$/,
  'second-member': /^refused by rule member$/,
  'revoked-client': /^(REFUSED|DEADLINE_EXCEEDED|refused by rule key-revoked)$/,
  'revoked-las': /^(REFUSED|DEADLINE_EXCEEDED|NO_QUORUM)$/,
  'old-cas-state': /^CAS does not decide: LAS [0-9a-f]{16} holds its word for state \d+, and it has state \d+$/,
};

async function proveAttacks(context: ProofContext): Promise<ClaimResult> {
  context.progress(`${CHAIN_ATTACKS.length} attacks on the chain of trust`);
  const results = await attackOwnCluster('secure', CHAIN_ATTACKS, new AbortController().signal, 'cas');
  const missed = results.filter((result) => !isRefusedRightly(result));
  const described = (missed.length === 0 ? results : missed).map(
    ({ name, verdict, reason, moved }) =>
      `${name}: ${missed.length === 0 ? answersIn(moved)[0]! : `${verdict}, ${reason ?? answersIn(moved).join(', ')}`}`,
  );
  return {
    claim: 'every attack on the chain of trust is refused with its reason',
    ok: missed.length === 0,
    figures: `${results.length - missed.length} of ${results.length}; ${described.join('; ')}`,
    data: { attacks: results },
  };
}

function isRefusedRightly({ name, verdict, moved }: AttackResult): boolean {
  const reason = REASONS[name];
  const answers = answersIn(moved);
  return (
    verdict === 'caught' && reason !== undefined && answers.length > 0 && answers.every((text) => reason.test(text))
  );
}

function answersIn(moved: AttackResult['moved']): string[] {
  return moved.filter(({ where }) => where === 'attacker').map(({ after }) => String(after));
}

async function proveSecrecy(context: ProofContext): Promise<ClaimResult> {
  context.progress('secrets are looked for');
  if (process.platform !== 'linux') throw new Error('it can be looked for on Linux only');
  const scan = await scanForSecrets();
  const { found, secretCount, processCount, printedBytes, fileCount, findsWhatIsThere } = scan;
  return {
    claim:
      'no secret is in logs, arguments, environments or files that others can read, and no key of CAS in a file in clear',
    ok: found.length === 0 && findsWhatIsThere && fileCount > 0 && printedBytes > 0 && secretCount > 0,
    figures:
      found.length === 0
        ? `${secretCount} secrets, as bytes and as text, in none of: arguments and environments of ${processCount} processes, ${count(printedBytes)} bytes that they and clients printed, ${fileCount} files`
        : found.join('; '),
    data: { ...scan },
  };
}
