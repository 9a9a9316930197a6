import { createTlsIdentity } from '../../../workers/tls-identity.ts';
import { Cas } from './cas.ts';
import { newCasState } from './cas-init.ts';
import type { CasSettings } from './cas-init.ts';
import type { CasState, LasRecord } from './cas-state.ts';
import { CasStore } from './cas-store.ts';
import type { CasStoreOptions } from './cas-store.ts';
import type { CasEvent } from './chain-events.ts';
import { PinnedServer } from './https-call.ts';
import { openService, route } from './https-service.ts';
import {
  EMPTY_REQUEST,
  IDENTITY_REQUEST,
  JOIN_REQUEST,
  OPERATOR_REQUEST,
  REGISTER_REQUEST,
  WITNESS_ANSWER,
} from './messages.ts';
import type { EvidenceJudge, Platform } from './platform.ts';
import { documentJson } from './signed-document.ts';
import { writeRecoveryShares } from './recovery.ts';
import type { RecoverySettings } from './recovery.ts';
import type { StateWitness } from './state-witness.ts';

/** CAS as a process runs it: over HTTPS, with its state in a directory. */
export interface CasServiceOptions {
  readonly directory: string;
  /** Where to listen, and at which address others reach it. */
  readonly host: string;
  readonly port: number;
  readonly platform: Platform;
  readonly judge: EvidenceJudge;
  /** Of a new cluster; left out: the one in the directory. */
  readonly settings?: CasSettings;
  /** Of a new cluster: who can recover its state together. */
  readonly recovery?: RecoverySettings;
  /** A state that was recovered from the backup in the directory. */
  readonly recovered?: CasState;
  readonly requestsPerSecond?: number;
  readonly nowMs: () => number;
  readonly onEvent: (event: CasEvent) => void;
  readonly onError: (error: unknown) => void;
}

export interface RunningCas {
  readonly cas: Cas;
  /** https://host:port#cluster-key: what everybody else is given. */
  readonly reference: string;
  close(): Promise<void>;
}

/** A host asks a handful of times to join; tests and the bench have many members on one. */
const REQUESTS_PER_SECOND_DEFAULT = 200;
const WITNESS_TIMEOUT_MS = 2_000;
/** Witnesses that were down when CAS started are asked again. */
const WITNESS_INTERVAL_MS = 2_000;
const TICK_INTERVAL_MS = 500;

/** @throws AvocadoError CLUSTER_FILES, EVIDENCE_FILES, EVIDENCE_UNAVAILABLE, INVALID_ARGUMENT, PORT_IN_USE. */
export async function runCas(options: CasServiceOptions): Promise<RunningCas> {
  const { directory, host, port, platform, judge, settings, nowMs, onEvent, onError } = options;
  const witnesses = new Witnesses();
  const storeOptions: CasStoreOptions = {
    directory,
    sealingKey: await platform.sealing.key(),
    witnessOf: (las) => witnesses.of(las),
    nowMs,
  };
  const store = openStore(options, storeOptions);
  if (options.recovery !== undefined) await writeRecoveryShares(directory, store.state, options.recovery);
  const tls = createTlsIdentity('avocado cas', nowMs());
  const cas = new Cas({ store, platform, judge, tlsCertificate: tls.certificateDer, nowMs, onEvent });
  const service = await openService({
    host,
    port,
    tls,
    onError,
    requestsPerSecond: options.requestsPerSecond ?? REQUESTS_PER_SECOND_DEFAULT,
    routes: new Map([
      ['/v1/identity', route(IDENTITY_REQUEST, ({ nonce }) => cas.identity(nonce))],
      ['/v1/nonce', route(EMPTY_REQUEST, () => cas.nonce())],
      ['/v1/las', route(REGISTER_REQUEST, (request, address) => cas.register(request, address))],
      ['/v1/join', route(JOIN_REQUEST, (request, address) => cas.join(request, address))],
      ['/v1/configuration', route(EMPTY_REQUEST, () => cas.configuration())],
      ['/v1/operator', route(OPERATOR_REQUEST, (request, address) => cas.operate(request, address))],
    ]),
  });
  let timer: NodeJS.Timeout | undefined;
  const ticks = setInterval(() => {
    cas.tick().catch(onError);
  }, TICK_INTERVAL_MS);
  const close = async (): Promise<void> => {
    clearInterval(timer);
    clearInterval(ticks);
    await service.close();
    witnesses.close();
  };
  try {
    if (settings !== undefined) {
      await cas.startNew();
    } else {
      await cas.startFrom();
      timer = setInterval(() => {
        if (!cas.isServing) cas.startFrom().catch(onError);
      }, WITNESS_INTERVAL_MS);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { cas, reference: `${service.url}#${store.state.clusterPublicKey}`, close };
}

function openStore({ settings, recovered }: CasServiceOptions, options: CasStoreOptions): CasStore {
  if (settings !== undefined) return CasStore.create(newCasState(settings), options);
  return recovered === undefined ? CasStore.open(options) : CasStore.recovered(recovered, options);
}

/** Connections to LASes, each pinned to the certificate that its evidence bound. */
class Witnesses {
  readonly #servers = new Map<string, PinnedServer>();

  of(las: LasRecord): StateWitness {
    let server = this.#servers.get(las.lasId);
    if (server === undefined || server.url !== las.url) {
      server?.close();
      server = new PinnedServer('LAS', las.url, las.tlsCertificate);
      this.#servers.set(las.lasId, server);
    }
    const pinned = server;
    const options = { timeoutMs: WITNESS_TIMEOUT_MS };
    return {
      name: `LAS ${las.lasId}`,
      put: async (word) =>
        (await pinned.call('/v1/witness', { word: documentJson(word) }, WITNESS_ANSWER, options)).held,
      held: async () => (await pinned.call('/v1/witnessed', {}, WITNESS_ANSWER, options)).held,
    };
  }

  close(): void {
    for (const server of this.#servers.values()) server.close();
  }
}
