import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { AvocadoError } from '../../errors.ts';
import { EVIDENCE_KINDS } from '../evidence/evidence.ts';
import type { EvidenceKind } from '../evidence/evidence.ts';
import { hexOfBytes, parseStrictJson } from '../evidence/strict-json.ts';
import { Policy } from '../evidence/policy.ts';
import { providerOf } from '../evidence/providers.ts';
import { fileError } from '../cluster-files.ts';
import { bytesOfHex } from '../hex.ts';
import { measureOwnBuild } from '../measure/own-build.ts';
import { ACCESS_FILE } from './access-file.ts';
import { openCasAuthority } from './cas-authority.ts';
import type { CasAuthority } from './cas-authority.ts';
import { parseCasReference } from './cas-connection.ts';
import type { CasJudgement } from './cas-connection.ts';
import { readEnrolmentFile } from './enrolment-file.ts';
import { gramineSealing, noSealing } from './platform-sealing.ts';
import { EvidenceJudge } from './platform.ts';
import type { Platform } from './platform.ts';
import { sameBuild } from './same-build.ts';
import { readSecretFile, writeSecretFile } from './secret-file.ts';
import { openSimulatedMachine, simulatedPlatform } from './simulated-machine.ts';

/** How a process reaches its cluster through CAS. It names files, and holds no secret. */
const ACCESS = z.strictObject({
  /** https://host:port#cluster-key */
  cas: z.string().max(400),
  /** URL of this host's LAS; left out: evidence to CAS itself. */
  las: z.string().max(300).optional(),
  tee: z.enum(EVIDENCE_KINDS),
  /** File of the simulated machine. */
  machine: z.string().max(4096).optional(),
  vendorLatencyMs: z.number().min(0).optional(),
  /** Simulated platforms only: the build, where whoever started this process has measured it. */
  measurement: hexOfBytes(48).optional(),
  /** File by which CAS is judged; left out: it must be the same build as this process. */
  casPolicy: z.string().max(4096).optional(),
  /** File with what the vendor publishes. */
  collateral: z.string().max(4096).optional(),
  /** Between two looks at CAS for revocations. */
  refreshMs: z.int().min(100).max(3_600_000).optional(),
});
export type ChainAccess = z.infer<typeof ACCESS>;
export interface PlatformChoice extends Pick<ChainAccess, 'tee' | 'machine' | 'vendorLatencyMs' | 'measurement'> {
  /** Simulated platforms only: an enclave that its host may read. Nothing that is honest asks for it. */
  readonly debug?: boolean;
}

const FILE_CHARS_MAX = 16 * 1024;
export const LAS_PORT_DEFAULT = 7481;

/** @param cluster A directory with the file, or a CAS. @throws AvocadoError CLUSTER_FILES, EVIDENCE_FILES. */
export function accessOf(cluster: string): ChainAccess {
  if (cluster.startsWith('https://')) return accessOfReference(cluster);
  const path = join(cluster, ACCESS_FILE);
  const text = readSecretFile(path);
  if (text === undefined) throw fileError(path, 'is missing: give the directory of a cluster');
  return parseStrictJson(text, ACCESS, path, FILE_CHARS_MAX);
}

export function writeChainAccess(directory: string, access: ChainAccess): void {
  writeSecretFile(join(directory, ACCESS_FILE), `${JSON.stringify(access, null, 2)}\n`, 'replace');
}

/** Of a cluster that is named by its CAS alone, on a simulated platform. AVOCADO_LAS names another LAS, or `none`. */
function accessOfReference(cas: string): ChainAccess {
  const las = process.env['AVOCADO_LAS'] || `https://127.0.0.1:${LAS_PORT_DEFAULT}`;
  return { cas, tee: 'simulated', ...(las !== 'none' && { las }) };
}

export interface ChainRole {
  readonly role: 'replica' | 'client';
  readonly memberIndex: number | null;
  readonly wantsDataKeys: boolean;
  /** Of a client; left out: the default one. */
  readonly profile?: string | undefined;
  /** File of the profile's enrolment key. */
  readonly enrolmentKeyFile?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly onWaiting?: (reason: string) => void;
}

/** @throws AvocadoError ADMISSION_REFUSED, TRUST_UNAVAILABLE, EVIDENCE_UNAVAILABLE, EVIDENCE_FILES, INVALID_ARGUMENT. */
export async function openChainAuthority(access: ChainAccess, role: ChainRole): Promise<CasAuthority> {
  const platform = openPlatform(access);
  const { enrolmentKeyFile } = role;
  return openCasAuthority({
    ...role,
    enrolmentKey: enrolmentKeyFile === undefined ? undefined : readEnrolmentFile(enrolmentKeyFile),
    platform,
    lasUrl: access.las,
    cas: parseCasReference(access.cas),
    judgement: judgementOf(access, platform),
    ...(access.refreshMs !== undefined && { refreshMs: access.refreshMs }),
  });
}

export function openPlatform(choice: PlatformChoice): Platform {
  const { tee, machine, vendorLatencyMs = 0, measurement, debug = false } = choice;
  if (tee === 'simulated') {
    return simulatedPlatform({
      machine: openSimulatedMachine(machine ?? join(homedir(), '.avocado-machine.json')),
      measurement: bytesOfHex(measurement ?? measureOwnBuild().hash),
      vendorLatencyMs,
      debug,
      nowMs: Date.now,
      sleep: (ms) => sleep(ms),
    });
  }
  const provider = providerOf(tee, { vendorLatencyMs });
  return { kind: tee, provider, local: undefined, sealing: tee === 'sgx' ? gramineSealing() : noSealing(tee) };
}

export function judgementOf(
  access: Pick<ChainAccess, 'tee' | 'casPolicy' | 'collateral'>,
  platform: Platform,
): CasJudgement {
  const judge = evidenceJudge(access.tee, access.collateral);
  const nowMs = Date.now;
  if (access.casPolicy === undefined) return { judge, policy: sameBuild(platform, judge, nowMs), nowMs };
  const policy = Policy.parse(readText(access.casPolicy), access.casPolicy);
  return { judge, policy: async (facts, reportData) => policy.judge(facts, { role: 'cas', reportData }), nowMs };
}

export function evidenceJudge(kind: EvidenceKind, collateralPath: string | undefined): EvidenceJudge {
  if (collateralPath === undefined) return new EvidenceJudge();
  return new EvidenceJudge(new Map([[kind, new TextEncoder().encode(readText(collateralPath))]]));
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new AvocadoError('EVIDENCE_FILES', `${path} can't be read (${code}): give the path of a file`, {
      cause: error,
    });
  }
}
