import { AvocadoError } from '../errors.ts';
import { refuse, SIMULATED_NOTICE } from '../trust/evidence/evidence.ts';
import type { MeasuredFacts, Refusal, Verification } from '../trust/evidence/evidence.ts';
import { EVIDENCE_CHARS_MAX, parseEvidence } from '../trust/evidence/evidence-file.ts';
import { PEM_BYTES_MAX } from '../trust/evidence/pem.ts';
import { Policy, POLICY_CHARS_MAX } from '../trust/evidence/policy.ts';
import type { Role } from '../trust/evidence/roles.ts';
import { verifyEvidence } from '../trust/evidence/verifiers.ts';
import { measureOwnBuild } from '../trust/measure/own-build.ts';
import { describeFacts, describeRefusal, factsJson } from './attest-facts.ts';
import { readInput } from './attest-files.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';

export interface VerifyOptions {
  readonly policy: string;
  readonly role: Role;
  /** Unix milliseconds. */
  readonly time?: number;
  readonly collateral?: string;
  readonly reportData?: Uint8Array;
  readonly json?: boolean;
}

/** The policy that needs no file: this build, on simulated platforms. */
const DEV_POLICY = 'dev';

interface Judged {
  readonly refusal: Refusal | undefined;
  /** Only what was verified; undefined when that failed. */
  readonly facts: MeasuredFacts | undefined;
}

export async function verify(file: string, options: VerifyOptions): Promise<void> {
  const policy = await readPolicy(options.policy);
  const collateral = options.collateral === undefined ? undefined : await readInput(options.collateral, PEM_BYTES_MAX);
  const nowMs = options.time ?? Date.now();
  const { bytes, reportData } = await evidenceOf(file, options);
  const { refusal, facts } = judge(verifyBytes(bytes, nowMs, collateral), policy, options.role, reportData);
  const verdict = refusal === undefined ? 'accepted' : 'refused';
  if (options.json === true) {
    const content = {
      verdict,
      role: options.role,
      time: new Date(nowMs).toISOString(),
      ...(refusal === undefined ? {} : { rule: refusal.rule, allowed: refusal.allowed, seen: refusal.seen }),
      ...(facts === undefined ? {} : { facts: factsJson(facts) }),
    };
    process.stdout.write(`${JSON.stringify(content)}\n`);
  } else {
    process.stdout.write(`${describeVerdict(refusal, facts, options.role)}\n`);
    if (facts !== undefined) process.stdout.write(`\nVerified facts:\n${describeFacts(facts)}`);
  }
  // The verdict was printed; only the exit code is left to say.
  if (refusal !== undefined) throw new CommandFailure('', EXIT_FAILED);
}

/** Of a running CAS it must bind the certificate that the server shows, and the nonce of this very question. */
async function evidenceOf(
  file: string,
  { reportData }: VerifyOptions,
): Promise<{ bytes: Uint8Array; reportData: Uint8Array | undefined }> {
  if (!file.startsWith('https://')) return { bytes: await readInput(file, EVIDENCE_CHARS_MAX), reportData };
  const { askIdentity, parseDocument } = await import('../trust/chain/cas-connection.ts');
  const [url, key] = file.split('#', 2) as [string, string?];
  const asked = await askIdentity({ url: url.replace(/\/$/, '') });
  const { clusterPublicKey } = parseDocument(asked.text);
  if (key !== undefined && key !== clusterPublicKey) {
    throw new AvocadoError('ADMISSION_REFUSED', `${url} is the CAS of another cluster, ${clusterPublicKey}`);
  }
  return { bytes: new TextEncoder().encode(asked.evidence), reportData: asked.reportData };
}

function verifyBytes(bytes: Uint8Array, nowMs: number, collateral: Uint8Array | undefined): Verification {
  const parsed = parseEvidence(bytes);
  if (!parsed.ok) return refuse('malformed', 'evidence as avocado attest show --out stores it', parsed.reason);
  return verifyEvidence(parsed.evidence, { nowMs, ...(collateral === undefined ? {} : { collateral }) });
}

function judge(verification: Verification, policy: Policy, role: Role, reportData: Uint8Array | undefined): Judged {
  if (!verification.ok) return { refusal: verification, facts: undefined };
  const { facts } = verification;
  return { refusal: policy.judge(facts, { role, ...(reportData === undefined ? {} : { reportData }) }), facts };
}

function describeVerdict(refusal: Refusal | undefined, facts: MeasuredFacts | undefined, role: Role): string {
  if (refusal !== undefined) return `refused as ${role}: ${describeRefusal(refusal)}`;
  return `accepted as ${role}${facts?.kind === 'simulated' ? ` (${SIMULATED_NOTICE})` : ''}`;
}

async function readPolicy(path: string): Promise<Policy> {
  if (path === DEV_POLICY) return Policy.ofSimulated(measureOwnBuild().hash);
  const text = new TextDecoder().decode(await readInput(path, POLICY_CHARS_MAX));
  return Policy.parse(text, `the policy ${path}`);
}
