import { setTimeout as sleep } from 'node:timers/promises';
import { generateStaticKeyPair } from '../../../workers/signing.ts';
import type { SecurityMode } from '../../../net/mode.ts';
import { AvocadoError } from '../../errors.ts';
import type { Authority, Configuration } from '../authority.ts';
import { voucherGroupOf } from '../certificate.ts';
import type { DataKeyRing } from '../data-key-ring.ts';
import { FileFields } from '../cluster-files.ts';
import { configurationOf } from '../cluster-configuration.ts';
import type { ClusterConfiguration } from '../cluster-configuration.ts';
import { hexOf } from '../hex.ts';
import { verifyPeer } from '../verify-peer.ts';
import { CasConnection } from './cas-connection.ts';
import type { CasJudgement, CasReference } from './cas-connection.ts';
import { isLater } from './https-call.ts';
import { join } from './join-cluster.ts';
import type { Admission, JoinOptions, StaticKeyPair } from './join-cluster.ts';
import { CONFIGURATION_ANSWER, REVOCATIONS } from './messages.ts';
import type { Revocations } from './messages.ts';
import { openDocument } from './signed-document.ts';

/** The place in a cluster that CAS gives to this process. Once it stands, CAS being down stops nothing. */
export interface CasAuthorityOptions extends JoinOptions {
  readonly cas: CasReference;
  readonly judgement: CasJudgement;
  /** How long to wait for CAS, LAS and missing members; Infinity for a replica. */
  readonly timeoutMs: number;
  /** Between two looks at revocations. */
  readonly refreshMs?: number;
  readonly signal?: AbortSignal;
  /** Called whenever what is waited for changes, and when a renewal fails. */
  readonly onWaiting?: (reason: string) => void;
}

const REFRESH_MS_DEFAULT = 10_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;
/** The other members are starting, too. */
const FORMING_MS_MAX = 200;
/** Renewal of a certificate begins at half of its life. */
const RENEW_AT = 0.5;

/** @throws AvocadoError ADMISSION_REFUSED; TRUST_UNAVAILABLE when the time is up. */
export async function openCasAuthority(options: CasAuthorityOptions): Promise<CasAuthority> {
  const staticKeys = generateStaticKeyPair();
  const untilMs = performance.now() + options.timeoutMs;
  let retryMs = RETRY_MS_MIN;
  let cas: CasConnection | undefined;
  let admission: Admission | undefined;
  let waitedFor = '';
  try {
    for (;;) {
      let reason: string;
      try {
        cas ??= await CasConnection.open(options.cas, options.judgement);
        admission ??= await join(cas, staticKeys, options);
        const place = await readPlace(cas);
        if (place.configuration !== undefined) {
          checkOwnPlace(place.configuration, staticKeys, options);
          return new CasAuthority(options, staticKeys, admission, place.configuration, place.revocations);
        }
        reason = missingText(place.missing);
      } catch (error) {
        if (!isLater(error) || performance.now() >= untilMs) throw error;
        reason = (error as Error).message;
        // It may have been started anew, with another certificate.
        cas?.close();
        cas = undefined;
      }
      if (performance.now() >= untilMs) throw new AvocadoError('TRUST_UNAVAILABLE', reason);
      if (reason !== waitedFor) options.onWaiting?.(reason);
      waitedFor = reason;
      const waitMs = Math.min(retryMs, Math.max(0, untilMs - performance.now()));
      await sleep(waitMs, undefined, { ...(options.signal !== undefined && { signal: options.signal }) });
      retryMs = Math.min(retryMs * 2, admission === undefined ? RETRY_MS_MAX : FORMING_MS_MAX);
    }
  } finally {
    cas?.close();
  }
}

function missingText(missing: readonly number[]): string {
  const which = missing.length === 1 ? `member ${missing[0]}` : `members ${missing.join(', ')}`;
  return `${which} of the cluster ${missing.length === 1 ? 'has' : 'have'} not joined yet: start ${missing.length === 1 ? 'it' : 'them'}`;
}

interface Place {
  readonly missing: readonly number[];
  readonly configuration: ClusterConfiguration | undefined;
  readonly revocations: Revocations;
}

/** Both parts are signed by the cluster key: whoever hands them over need not be CAS. */
async function readPlace(cas: CasConnection): Promise<Place> {
  const answer = await cas.call('/v1/configuration', {}, CONFIGURATION_ANSWER);
  const revocations = openDocument(answer.revocations, 'revocations', REVOCATIONS, cas.clusterPublicKey);
  const configuration =
    answer.configuration === null
      ? undefined
      : configurationOf(new FileFields("CAS's configuration", '', answer.configuration));
  const isForeign =
    configuration !== undefined &&
    (hexOf(configuration.clusterPublicKey) !== cas.document.clusterPublicKey ||
      hexOf(configuration.clusterId) !== cas.document.clusterId);
  if (revocations === undefined || revocations.clusterId !== cas.document.clusterId || isForeign) {
    throw new AvocadoError('ADMISSION_REFUSED', 'configuration or revocations are not signed by the cluster key');
  }
  return { missing: answer.missing, configuration, revocations };
}

function checkOwnPlace(configuration: ClusterConfiguration, keys: StaticKeyPair, options: JoinOptions): void {
  if (options.memberIndex === null) return;
  const member = configuration.members[options.memberIndex];
  if (member === undefined || Buffer.compare(member.staticKey, keys.publicKey) !== 0) {
    throw new AvocadoError(
      'ADMISSION_REFUSED',
      `another process has joined as member ${options.memberIndex} meanwhile: run one replica for each member`,
    );
  }
}

export class CasAuthority implements Authority {
  readonly clusterId: Uint8Array;
  readonly mode: SecurityMode;
  readonly configuration: Configuration;
  readonly staticKeyPair: StaticKeyPair;
  readonly dataKeys: DataKeyRing;
  /** The one of the last renewal. */
  certificate: Uint8Array;
  readonly verify: Authority['verify'];
  readonly #options: CasAuthorityOptions;
  #revocations: Revocations;
  #revoked: ReadonlySet<string>;
  #renewAtMs: number;
  #cas: CasConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #trouble = '';

  constructor(
    options: CasAuthorityOptions,
    staticKeys: StaticKeyPair,
    admission: Admission,
    cluster: ClusterConfiguration,
    revocations: Revocations,
  ) {
    this.#options = options;
    this.clusterId = cluster.clusterId;
    this.mode = cluster.mode;
    this.configuration = { epoch: cluster.epoch, members: cluster.members };
    this.staticKeyPair = staticKeys;
    this.dataKeys = admission.dataKeys;
    this.certificate = admission.certificate;
    this.#revocations = revocations;
    this.#revoked = new Set(revocations.staticKeys);
    this.verify = (certificate, staticKey, nowSeconds) => {
      if (this.#revoked.has(hexOf(staticKey))) return { ok: false, reason: 'the key was revoked by CAS' };
      const verdict = verifyPeer(cluster, certificate, staticKey, nowSeconds);
      if (verdict.ok && this.#revocations.groups.includes(voucherGroupOf(certificate))) {
        return { ok: false, reason: 'the LAS that vouched for it was revoked by CAS' };
      }
      return verdict;
    };
    this.#renewAtMs = this.#renewalOf(admission);
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#cas?.close();
  }

  /** Renews if it is time, and takes newer revocations. Whatever fails is tried again; nothing that runs is stopped. */
  async refresh(): Promise<void> {
    try {
      this.#cas ??= await CasConnection.open(this.#options.cas, this.#options.judgement);
      if (this.#options.judgement.nowMs() >= this.#renewAtMs) {
        const renewed = await join(this.#cas, this.staticKeyPair, this.#options);
        this.certificate = renewed.certificate;
        this.#renewAtMs = this.#renewalOf(renewed);
      }
      const { revocations } = await readPlace(this.#cas);
      // An older list is one that was kept back.
      if (revocations.sequence > this.#revocations.sequence) {
        this.#revocations = revocations;
        this.#revoked = new Set(revocations.staticKeys);
      }
      this.#trouble = '';
    } catch (error) {
      this.#cas?.close();
      this.#cas = undefined;
      const { message } = error as Error;
      if (message !== this.#trouble && !this.#closed) this.#options.onWaiting?.(message);
      this.#trouble = message;
    }
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.refresh().then(() => this.#schedule());
    }, this.#options.refreshMs ?? REFRESH_MS_DEFAULT);
    this.#timer.unref();
  }

  #renewalOf({ expirySeconds }: Admission): number {
    const nowMs = this.#options.judgement.nowMs();
    return nowMs + (expirySeconds * 1000 - nowMs) * RENEW_AT;
  }
}
