import { setTimeout as sleep } from 'node:timers/promises';
import { NO_DATA_KEY } from '../../../workers/sealing.ts';
import { erase, generateStaticKeyPair } from '../../../workers/signing.ts';
import type { SecurityMode } from '../../../net/mode.ts';
import { AvocadoError } from '../../errors.ts';
import type { Authority, Configuration } from '../authority.ts';
import { DataKeyRing } from '../data-key-ring.ts';
import { keyReportText } from '../key-report.ts';
import { FileFields } from '../cluster-files.ts';
import { configurationOf } from '../cluster-configuration.ts';
import type { ClusterConfiguration } from '../cluster-configuration.ts';
import { hexOf } from '../hex.ts';
import { verifyPeer } from '../verify-peer.ts';
import { CasConnection } from './cas-connection.ts';
import type { CasJudgement, CasReference } from './cas-connection.ts';
import { isLater } from './https-call.ts';
import { currentSpaces, join } from './join-cluster.ts';
import type { Admission, JoinOptions, StaticKeyPair } from './join-cluster.ts';
import { CONFIGURATION_ANSWER, DATA_KEY_LIST, REVOCATIONS } from './messages.ts';
import type { DataKeyList, Revocations } from './messages.ts';
import { openDocument } from './signed-document.ts';

/** The place in a cluster that CAS gives to this process. Once it stands, CAS being down stops nothing. */
export interface CasAuthorityOptions extends JoinOptions {
  readonly cas: CasReference;
  readonly judgement: CasJudgement;
  /** How long to wait for CAS, LAS and missing members; Infinity for a replica. */
  readonly timeoutMs: number;
  /** Between two looks at what CAS has changed; default: as CAS says. */
  readonly refreshMs?: number;
  readonly signal?: AbortSignal;
  /** Called whenever what is waited for changes, and when a renewal fails. */
  readonly onWaiting?: (reason: string) => void;
}

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;
/** The other members are starting, too. */
const FORMING_MS_MAX = 200;
/**
 * A renewal that failed is tried again so soon, where certificates live for seconds; and CAS is asked for an unknown data key
 * no more often, as hosts can make ids up.
 */
const REFRESH_MS_MIN = 500;
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
        const place = await readPlace(cas, admission.heldCounter);
        if (place.configuration !== undefined) {
          checkOwnPlace(place.configuration, staticKeys, options);
          return new CasAuthority(options, staticKeys, admission, place.configuration, place);
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
  readonly heldCounter: number;
  readonly missing: readonly number[];
  readonly configuration: ClusterConfiguration | undefined;
  readonly revocations: Revocations;
  readonly keyList: DataKeyList;
}

/**
 * All parts are signed by the cluster key.
 * @param heldCounter Of the latest state of CAS that was seen. A second CAS, from an older one, has a lower.
 */
async function readPlace(cas: CasConnection, heldCounter: number): Promise<Place> {
  const answer = await cas.call('/v1/configuration', {}, CONFIGURATION_ANSWER);
  if (answer.heldCounter < heldCounter) {
    throw new AvocadoError(
      'TRUST_UNAVAILABLE',
      `CAS answers from state ${answer.heldCounter}, and was in ${heldCounter} before: its disk was turned back, or there are two of it`,
    );
  }
  const revocations = openDocument(answer.revocations, 'revocations', REVOCATIONS, cas.clusterPublicKey);
  const keyList = openDocument(answer.dataKeys, 'data keys', DATA_KEY_LIST, cas.clusterPublicKey);
  const configuration =
    answer.configuration === null
      ? undefined
      : configurationOf(new FileFields("CAS's configuration", '', answer.configuration));
  const isForeign =
    configuration !== undefined &&
    (hexOf(configuration.clusterPublicKey) !== cas.document.clusterPublicKey ||
      hexOf(configuration.clusterId) !== cas.document.clusterId);
  const { clusterId } = cas.document;
  if (revocations?.clusterId !== clusterId || keyList?.clusterId !== clusterId || isForeign) {
    throw new AvocadoError(
      'ADMISSION_REFUSED',
      'configuration, revocations or list of data keys are not signed by the cluster key',
    );
  }
  return { heldCounter: answer.heldCounter, missing: answer.missing, configuration, revocations, keyList };
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
  readonly dataKeys = DataKeyRing.empty();
  /** The one of the last renewal. */
  certificate: Uint8Array;
  readonly verify: Authority['verify'];
  onRevoked: (() => void) | undefined;
  readonly #options: CasAuthorityOptions;
  #heldCounter: number;
  #revocations: Revocations;
  #revoked: ReadonlySet<string>;
  #keyList: DataKeyList;
  /** Of the list at the time that keys were handed out last. */
  #delivered = { sequence: 0, lastId: 0 };
  #followedSequence = -1;
  /** CAS went back to a key that was destroyed here: an older state of it was restored. */
  #lacksCurrent = false;
  /** What was reported last, as text. */
  #reported = '';
  #refreshedMs = -Infinity;
  #refreshing: Promise<void> | undefined;
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
    { heldCounter, revocations, keyList }: Pick<Place, 'heldCounter' | 'revocations' | 'keyList'>,
  ) {
    this.#options = options;
    this.#heldCounter = heldCounter;
    this.clusterId = cluster.clusterId;
    this.mode = cluster.mode;
    this.configuration = { epoch: cluster.epoch, members: cluster.members };
    this.staticKeyPair = staticKeys;
    this.certificate = admission.certificate;
    this.#keyList = keyList;
    this.#takeKeys(admission);
    this.#followKeys(keyList);
    this.dataKeys.onUnknownKey = () => this.#refreshSoon();
    this.#revocations = revocations;
    this.#revoked = new Set(revocations.staticKeys);
    this.verify = (certificate, staticKey, nowSeconds) => {
      if (this.#revoked.has(hexOf(staticKey))) return { ok: false, reason: 'the key was revoked by CAS' };
      const verdict = verifyPeer(cluster, certificate, staticKey, nowSeconds);
      if (verdict.ok && this.#revocations.groups.includes(verdict.voucherGroup ?? 0)) {
        return { ok: false, reason: 'the LAS that vouched for it was revoked by CAS' };
      }
      return verdict;
    };
    this.#renewAtMs = this.#renewalOf(admission);
    this.#schedule();
  }

  isRevoked(staticKey: string, voucherGroup: number): boolean {
    return this.#revoked.has(staticKey) || this.#revocations.groups.includes(voucherGroup);
  }

  close(): void {
    this.#closed = true;
    this.onRevoked = undefined;
    clearTimeout(this.#timer);
    this.#cas?.close();
  }

  /** Renews if it is time, and takes what is new. Whatever fails is tried again; nothing that runs is stopped. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    this.#refreshedMs = performance.now();
    try {
      this.#cas ??= await CasConnection.open(this.#options.cas, this.#options.judgement);
      const { heldCounter, revocations, keyList } = await readPlace(this.#cas, this.#heldCounter);
      this.#heldCounter = heldCounter;
      // An older list is one that was kept back.
      if (revocations.sequence > this.#revocations.sequence) {
        this.#revocations = revocations;
        this.#revoked = new Set(revocations.staticKeys);
        this.onRevoked?.();
      }
      await this.#renew(this.#cas, keyList);
      this.#followKeys(keyList);
      // That a new key is here CAS learns at once: others wait for it.
      if (this.#isReportDue(keyList) || this.#lacksCurrent) await this.#renew(this.#cas, keyList);
      this.#trouble = '';
    } catch (error) {
      this.#cas?.close();
      this.#cas = undefined;
      const { message } = error as Error;
      if (message !== this.#trouble && !this.#closed) this.#options.onWaiting?.(message);
      this.#trouble = message;
    }
  }

  /** Joining again brings the next certificate and all keys, and takes a replica's report along. */
  async #renew(cas: CasConnection, keyList: DataKeyList): Promise<void> {
    const { judgement, wantsDataKeys } = this.#options;
    const isTime = judgement.nowMs() >= this.#renewAtMs;
    const lacksKeys =
      wantsDataKeys && (this.#lacksCurrent || keyList.keys.some(({ id }) => id > this.#delivered.lastId));
    if (!isTime && !lacksKeys && !this.#isReportDue(keyList)) return;
    const report = this.#options.role === 'replica' ? this.dataKeys.report() : undefined;
    const renewed = await join(cas, this.staticKeyPair, this.#options, report);
    this.certificate = renewed.certificate;
    this.#renewAtMs = this.#renewalOf(renewed);
    if (report !== undefined) this.#reported = keyReportText(report);
    this.#takeKeys(renewed);
  }

  /** Only while a key is on its way in or out. */
  #isReportDue({ keys }: DataKeyList): boolean {
    if (this.#options.role !== 'replica' || keys.every(({ phase }) => phase === 'current')) return false;
    return keyReportText(this.dataKeys.report()) !== this.#reported;
  }

  #takeKeys({ keys: delivered }: Admission): void {
    if (delivered === undefined) return;
    const { sequence, lastId, spaces, keys } = delivered;
    this.#delivered = { sequence, lastId };
    this.#lacksCurrent = false;
    this.#followedSequence = -1;
    this.dataKeys.update(spaces, keys);
    for (const { key } of keys) erase(key);
  }

  /** An older list than what was handed out knows nothing of the newest keys. */
  #followKeys(list: DataKeyList): void {
    if (list.sequence < this.#keyList.sequence || list.sequence < this.#delivered.sequence) return;
    this.#keyList = list;
    if (list.sequence === this.#followedSequence) return;
    this.#followedSequence = list.sequence;
    const before = this.#spacesWithKey();
    this.dataKeys.follow(currentSpaces(list.spaces), list);
    this.#lacksCurrent = this.#spacesWithKey() < before;
  }

  #spacesWithKey(): number {
    return this.dataKeys.spaces.filter(({ currentId }) => currentId !== NO_DATA_KEY).length;
  }

  #refreshSoon(): void {
    if (this.#closed || performance.now() - this.#refreshedMs < REFRESH_MS_MIN) return;
    this.#refreshedMs = performance.now();
    void this.refresh();
  }

  #schedule(): void {
    if (this.#closed) return;
    const { judgement, refreshMs = Infinity } = this.#options;
    const ownMs = Math.max(this.#renewAtMs - judgement.nowMs(), REFRESH_MS_MIN);
    // No less often than CAS counts on.
    const waitMs = Math.min(refreshMs, this.#keyList.refreshSeconds * 1_000, ownMs);
    this.#timer = setTimeout(() => {
      void this.refresh().then(() => this.#schedule());
    }, waitMs);
    this.#timer.unref();
  }

  #renewalOf({ expirySeconds }: Admission): number {
    const nowMs = this.#options.judgement.nowMs();
    return nowMs + (expirySeconds * 1000 - nowMs) * RENEW_AT;
  }
}
