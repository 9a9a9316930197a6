import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { SecurityMode } from '../../net/mode.ts';
import { OPERATOR_FILE } from '../trust/chain/access-file.ts';
import type { ChainAccess } from '../trust/chain/chain-access.ts';
import { evidenceJudge, judgementOf, openPlatform, writeChainAccess } from '../trust/chain/chain-access.ts';
import { parseCasReference } from '../trust/chain/cas-connection.ts';
import type { CasSettings } from '../trust/chain/cas-init.ts';
import { runCas } from '../trust/chain/cas-service.ts';
import type { CasServiceOptions, RunningCas } from '../trust/chain/cas-service.ts';
import type { CasEvent } from '../trust/chain/chain-events.ts';
import { runLas } from '../trust/chain/las.ts';
import type { LasEvent, RunningLas } from '../trust/chain/las.ts';
import { newOperatorKeys, writeOperatorFile } from '../trust/chain/operator-file.ts';
import { CLUSTER_FILE, writeClusterFile } from '../trust/cluster-files.ts';
import { hexOf } from '../trust/hex.ts';
import { policyOfBuild } from '../trust/chain/build-policy.ts';
import { measureOwnBuild } from '../trust/measure/own-build.ts';

/**
 * CAS and LAS for a cluster on this machine, in this process: `avocado dev` and tests. Platforms are simulated; the machine
 * and all else lies in the cluster's directory.
 */
export interface EmbeddedChainOptions {
  /** Of the simulated vendor's service. */
  readonly vendorLatencyMs: number;
  /** How long certificates are good for; they are renewed at half of it. */
  readonly certificateSeconds?: number;
  /** On whose word CAS admits; default: LAS's. */
  readonly admission?: CasSettings['admission'];
  /** Between two looks of members and clients at CAS; default 10 s. */
  readonly refreshMs?: number;
  readonly spaces?: CasSettings['spaces'];
  readonly profiles?: CasSettings['profiles'];
  readonly onCas?: (event: CasEvent, reference: string) => void;
  readonly onLas?: (event: LasEvent) => void;
}

export interface EmbeddedChain {
  readonly access: ChainAccess;
  /** Ends CAS, as an outage would. LAS goes on. */
  stopCas(): Promise<void>;
  /** From the state in its directory, whatever that is by now, at the address that it had. */
  startCas(): Promise<RunningCas>;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
/** Nothing runs as long; a short one shows that renewal works. */
const CERTIFICATE_SECONDS = 3_600;

export async function startEmbeddedChain(
  options: EmbeddedChainOptions & {
    readonly directory: string;
    readonly members: readonly { readonly host: string; readonly port: number }[];
    readonly mode: SecurityMode;
  },
): Promise<EmbeddedChain> {
  const { directory, members, mode, vendorLatencyMs } = options;
  const casDirectory = join(directory, 'cas');
  const operatorFile = join(directory, OPERATOR_FILE);
  // What an attempt to start before this one has left.
  for (const path of [casDirectory, operatorFile]) rmSync(path, { recursive: true, force: true });
  const measurement = measureOwnBuild().hash;
  const choice = { tee: 'simulated', machine: join(directory, 'machine.json'), vendorLatencyMs, measurement } as const;
  const operator = newOperatorKeys();
  let cas: RunningCas | undefined;
  let las: RunningLas | undefined;
  const close = async (): Promise<void> => {
    await las?.close();
    await cas?.close();
  };
  const onError = (error: unknown): void => void process.stderr.write(`CAS or LAS: ${String(error)}\n`);
  const settings: CasSettings = {
    mode,
    members,
    policy: policyOfBuild('simulated', measurement),
    admission: options.admission ?? 'las',
    certificateSeconds: options.certificateSeconds ?? CERTIFICATE_SECONDS,
    ...(options.refreshMs !== undefined && { refreshSeconds: Math.max(1, Math.ceil(options.refreshMs / 1_000)) }),
    ...(options.spaces !== undefined && { spaces: options.spaces }),
    ...(options.profiles !== undefined && { profiles: options.profiles }),
    operators: [hexOf(operator.signing.publicKey)],
    policyThreshold: 1,
  };
  const openCas = (port: number, origin: Pick<CasServiceOptions, 'settings'>): Promise<RunningCas> =>
    runCas({
      ...origin,
      directory: casDirectory,
      host: HOST,
      port,
      platform: openPlatform(choice),
      judge: evidenceJudge('simulated', undefined),
      nowMs: Date.now,
      onEvent: (event) => {
        options.onCas?.(event, cas?.reference ?? '');
        // For those who look only for who the members are and in which mode.
        const isMember = event.type === 'admitted' && event.role === 'replica';
        const configuration = isMember ? cas?.cas.configuration().configuration : undefined;
        if (configuration) writeClusterFile(directory, CLUSTER_FILE, configuration);
      },
      onError,
    });
  try {
    cas = await openCas(0, { settings });
    const { reference } = cas;
    writeOperatorFile(operatorFile, operator);
    const platform = openPlatform(choice);
    las = await runLas({
      host: HOST,
      port: 0,
      cas: parseCasReference(reference),
      platform,
      judgement: judgementOf(choice, platform),
      nowMs: Date.now,
      onEvent: (event) => options.onLas?.(event),
      onError,
    });
    await las.attested;
    const { refreshMs } = options;
    const access: ChainAccess = {
      cas: reference,
      las: las.url,
      ...choice,
      ...(refreshMs !== undefined && { refreshMs }),
    };
    writeChainAccess(directory, access);
    return {
      access,
      stopCas: async () => cas?.close(),
      startCas: async () => (cas = await openCas(Number(new URL(reference).port), {})),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
