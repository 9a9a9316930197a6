import { CasConnection, parseCasReference } from '../trust/chain/cas-connection.ts';
import { judgementOf, openPlatform, readText } from '../trust/chain/chain-access.ts';
import { NEW_POLICY_CHARS_MAX } from '../trust/chain/messages.ts';
import type { CasDocument, OperatorCommand } from '../trust/chain/messages.ts';
import { newOperatorKeys, operatorName, readOperatorFile, writeOperatorFile } from '../trust/chain/operator-file.ts';
import { giveShare, readRecoveryShares } from '../trust/chain/recovery.ts';
import { sendCommand } from '../trust/chain/operator.ts';
import { Policy } from '../trust/evidence/policy.ts';
import { AvocadoError } from '../errors.ts';
import { describeFacts, factsJson } from './attest-facts.ts';
import { makeEnrolmentFile } from '../trust/chain/enrolment-file.ts';
import { newProfile } from '../trust/chain/profiles.ts';
import { hexOf } from '../trust/hex.ts';
import type { CasCallOptions, CasProfileOptions } from './cas.ts';
import { formatTable } from './table.ts';

export async function show(options: CasCallOptions): Promise<void> {
  const cas = await connect(options);
  try {
    const { document, facts } = cas;
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify({ verdict: 'accepted', document, facts: factsJson(facts) })}\n`);
      return;
    }
    const rows = [
      ['state', document.state],
      ['cluster', document.clusterId],
      ['cluster key', document.clusterPublicKey],
      ['mode', document.mode],
      ['policy and settings', document.policyHash],
      ['operators', document.operators.join(', ')],
      ['to replace the policy', `${document.policyThreshold} of ${document.operators.length} operators`],
      ['state counter', String(document.stateCounter)],
      ['audit head', `${document.auditCount}:${document.auditHead}`],
      ...document.dataKeys.map((key) => [`data key ${key.id}`, describeKey(key)]),
      ...(document.destroyedKeys.length > 0 ? [['destroyed keys', document.destroyedKeys.join(', ')]] : []),
    ];
    process.stdout.write(`accepted as CAS\n\n${formatTable(rows.map(([name, value]) => [`  ${name}`, value!]))}`);
    process.stdout.write(`\nVerified facts:\n${describeFacts(facts)}`);
  } finally {
    cas.close();
  }
}

function describeKey({ space, phase, waitsFor }: CasDocument['dataKeys'][number]): string {
  const waits = waitsFor.length === 0 ? '' : `, waits for ${waitsFor.map((member) => `replica ${member}`).join(', ')}`;
  return `of key space ${space}: ${phase}${waits}`;
}

export function makeOperatorKey(path: string): void {
  const keys = newOperatorKeys();
  writeOperatorFile(path, keys);
  process.stdout.write(`${operatorName(keys)}\n`);
}

export async function operate(options: CasCallOptions, command: OperatorCommand): Promise<void> {
  const keys = readOperatorFile(options.operatorKey);
  const cas = await connect(options);
  try {
    process.stdout.write(`${await sendCommand(cas, keys.signing, command)}\n`);
  } finally {
    cas.close();
  }
}

/** The file is judged here first, so that what is wrong with it is told with its name. */
export async function setPolicy(path: string, options: CasCallOptions): Promise<void> {
  const keys = readOperatorFile(options.operatorKey);
  const policy = readText(path);
  Policy.parse(policy, path);
  if (policy.length > NEW_POLICY_CHARS_MAX) {
    throw new AvocadoError(
      'EVIDENCE_FILES',
      `${path} has ${policy.length} characters: ${NEW_POLICY_CHARS_MAX} at most are sent`,
    );
  }
  const cas = await connect(options);
  try {
    const command = { type: 'set-policy', policy, replaces: cas.document.policyHash } as const;
    process.stdout.write(`${await sendCommand(cas, keys.signing, command)}\n`);
  } finally {
    cas.close();
  }
}

export async function setProfile(name: string, grants: string, options: CasProfileOptions): Promise<void> {
  const { measurement, enrolmentKey } = options;
  const profile = newProfile(name, grants, {
    ...(measurement !== undefined && { measurements: measurement }),
    ...(enrolmentKey !== undefined && { enrolmentKey }),
  });
  const keys = readOperatorFile(options.operatorKey);
  const cas = await connect(options);
  try {
    const command = { type: 'set-profile', profile, replaces: cas.document.policyHash } as const;
    process.stdout.write(`${await sendCommand(cas, keys.signing, command)}\n`);
  } finally {
    cas.close();
  }
}

export function makeEnrolmentKey(path: string): void {
  process.stdout.write(`${hexOf(makeEnrolmentFile(path).publicKey)}\n`);
}

export async function share(path: string, options: CasCallOptions): Promise<void> {
  const { recovery } = readOperatorFile(options.operatorKey);
  const shares = readRecoveryShares(path);
  const cas = await connect(options);
  try {
    process.stdout.write(`${await giveShare(cas, recovery, shares)}\n`);
  } finally {
    cas.close();
  }
}

/** @throws AvocadoError ADMISSION_REFUSED, TRUST_UNAVAILABLE. */
export function connect(options: CasCallOptions): Promise<CasConnection> {
  const platform = openPlatform(options);
  return CasConnection.open(parseCasReference(options.cas), judgementOf(options, platform));
}
