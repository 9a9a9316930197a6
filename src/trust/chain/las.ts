import { generateSigningKeyPair } from '../../../workers/signing.ts';
import { createTlsIdentity } from '../../../workers/tls-identity.ts';
import type { TlsIdentity } from '../../../workers/tls-identity.ts';
import { hexOf } from '../hex.ts';
import { parseEvidence, writeEvidence } from '../evidence/evidence-file.ts';
import { refuse } from '../evidence/evidence.ts';
import type { Verification } from '../evidence/evidence.ts';
import { refusalText } from './admission.ts';
import { CasConnection } from './cas-connection.ts';
import type { CasJudgement, CasReference } from './cas-connection.ts';
import { isLater } from './https-call.ts';
import { openService, Refused, route } from './https-service.ts';
import type { RunningService } from './https-service.ts';
import {
  EMPTY_REQUEST,
  LAS_CERTIFICATE,
  REGISTER_ANSWER,
  VOUCHER_REQUEST,
  voucherFacts,
  WITNESS_REQUEST,
} from './messages.ts';
import type { LasCertificate, Voucher } from './messages.ts';
import type { z } from 'zod';
import type { Platform } from './platform.ts';
import { joinReportData, reportDataFor } from './report-data.ts';
import { documentJson, openDocument, signDocument } from './signed-document.ts';
import { WitnessMemory } from './state-witness.ts';

/**
 * The local attestation service of one host: attested once by CAS, then it tells CAS, in milliseconds, what runs beside
 * it. It judges nothing but whether a report is of its own machine and binds what the voucher says; the policy is CAS's.
 */
export interface LasOptions {
  readonly host: string;
  readonly port: number;
  readonly cas: CasReference;
  readonly platform: Platform;
  /** Of CAS, and of evidence where the platform has no local reports. */
  readonly judgement: CasJudgement;
  readonly nowMs: () => number;
  readonly onEvent: (event: LasEvent) => void;
  readonly onError: (error: unknown) => void;
}

export type LasEvent =
  | { readonly type: 'attested'; readonly lasId: string; readonly ms: number }
  | { readonly type: 'waiting'; readonly reason: string }
  | { readonly type: 'vouched'; readonly role: string; readonly memberIndex: number | null; readonly ms: number }
  | { readonly type: 'refused'; readonly reason: string };

export interface RunningLas {
  readonly url: string;
  /** Resolves once CAS has attested it; rejects when CAS refuses it. */
  readonly attested: Promise<void>;
  close(): Promise<void>;
}

/** From the nonce to the join: some round trips, and what a busy host adds. */
export const VOUCHER_LIFE_SECONDS = 15;
/** Local enclaves are few, and each asks when it starts and when it renews. */
const REQUESTS_PER_SECOND = 500;
const RETRY_MS = 1_000;

/** @throws AvocadoError PORT_IN_USE, INVALID_ARGUMENT. */
export async function runLas(options: LasOptions): Promise<RunningLas> {
  const tls = createTlsIdentity('avocado las', options.nowMs());
  const las = new Las(options, tls);
  const service = await openService({
    host: options.host,
    port: options.port,
    tls,
    onError: options.onError,
    requestsPerSecond: REQUESTS_PER_SECOND,
    routes: new Map([
      ['/v1/voucher', route(VOUCHER_REQUEST, (request) => las.vouch(request))],
      ['/v1/witness', route(WITNESS_REQUEST, ({ word }) => held(las.witness.put(word)))],
      ['/v1/witnessed', route(EMPTY_REQUEST, () => held(las.witness.held))],
    ]),
  });
  const attested = las.keepAttested(service);
  attested.catch(() => {}); // whoever started it waits for it, or doesn't
  return {
    url: service.url,
    attested,
    close: async () => {
      las.close();
      await service.close();
    },
  };
}

function held(word: WitnessMemory['held']): { held: object | null } {
  return { held: word === null ? null : documentJson(word) };
}

class Las {
  readonly witness: WitnessMemory;
  readonly #options: LasOptions;
  readonly #tls: TlsIdentity;
  readonly #keys = generateSigningKeyPair();
  #certificate: LasCertificate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LasOptions, tls: TlsIdentity) {
    this.#options = options;
    this.#tls = tls;
    this.witness = new WitnessMemory(Buffer.from(options.cas.clusterPublicKey, 'hex'));
  }

  /** @param service Where CAS reaches it. */
  async keepAttested(service: RunningService): Promise<void> {
    for (;;) {
      try {
        await this.#register(service.url);
        break;
      } catch (error) {
        if (!isLater(error)) throw error;
        this.#options.onEvent({ type: 'waiting', reason: (error as Error).message });
        await new Promise((resolve) => {
          this.#timer = setTimeout(resolve, RETRY_MS);
        });
        if (this.#closed) return;
      }
    }
    this.#renewLater(service);
  }

  async vouch(request: z.output<typeof VOUCHER_REQUEST>): Promise<{ voucher: object }> {
    const { platform, onEvent } = this.#options;
    const startedMs = performance.now();
    const certificate = this.#certificate;
    if (certificate === undefined) throw new Refused('later', 'CAS has not attested this LAS yet');
    const { proof, ...claim } = request;
    const verification =
      proof.type === 'evidence'
        ? this.#verifyEvidence(proof.evidence)
        : (platform.local?.verify(proof.report) ??
          refuse('kind', `evidence: ${platform.kind} has no local reports`, 'a local report'));
    const refusal = verification.ok ? this.#bindingRefusal(verification, joinReportData(claim)) : verification;
    if (!verification.ok || refusal !== undefined) {
      const reason = refusalText(refusal!);
      onEvent({ type: 'refused', reason });
      throw new Refused('refused', reason);
    }
    const voucher: Voucher = {
      ...claim,
      clusterId: certificate.clusterId,
      lasId: certificate.lasId,
      facts: voucherFacts(verification.facts),
      lifeSeconds: VOUCHER_LIFE_SECONDS,
    };
    const signed = signDocument('voucher', voucher, this.#keys.secretKey);
    onEvent({
      type: 'vouched',
      role: claim.role,
      memberIndex: claim.memberIndex,
      ms: performance.now() - startedMs,
    });
    return { voucher: documentJson(signed) };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #verifyEvidence(text: string): Verification {
    const { judgement, nowMs } = this.#options;
    const parsed = parseEvidence(new TextEncoder().encode(text));
    return parsed.ok
      ? judgement.judge.verify(parsed.evidence, nowMs())
      : refuse('malformed', 'evidence', parsed.reason);
  }

  /** Of this machine, and of these keys. */
  #bindingRefusal(
    { facts }: Verification & { ok: true },
    reportData: Uint8Array,
  ): ReturnType<typeof refuse> | undefined {
    const own = this.#certificate?.platformId ?? null;
    if (facts.platformId === undefined || facts.platformId !== own) {
      return refuse('platform', own ?? 'none: this platform has no id', facts.platformId ?? 'none');
    }
    if (Buffer.compare(facts.reportData, reportData) !== 0) {
      return refuse('report-data', hexOf(reportData), hexOf(facts.reportData));
    }
    return undefined;
  }

  async #register(url: string): Promise<void> {
    const { cas: reference, judgement, platform, onEvent, nowMs } = this.#options;
    const startedMs = nowMs();
    const cas = await CasConnection.open(reference, judgement);
    try {
      const nonce = await cas.nonce();
      const voucherKey = hexOf(this.#keys.publicKey);
      const reportData = reportDataFor('las registration', [nonce, this.#tls.certificateDer, voucherKey, url]);
      const evidence = writeEvidence(await platform.provider.makeEvidence(reportData));
      const tlsCertificate = Buffer.from(this.#tls.certificateDer).toString('base64');
      const request = { nonce, url, tlsCertificate, voucherKey, evidence };
      const { certificate } = await cas.call('/v1/las', request, REGISTER_ANSWER);
      const content = openDocument(certificate, 'las certificate', LAS_CERTIFICATE, cas.clusterPublicKey);
      if (content === undefined || content.voucherKey !== voucherKey) {
        throw new Error('CAS, though attested, answered with a wrong certificate');
      }
      this.#certificate = content;
      onEvent({ type: 'attested', lasId: content.lasId, ms: nowMs() - startedMs });
    } finally {
      cas.close();
    }
  }

  /** At half of its certificate's life; CAS being down then only means to try again. */
  #renewLater(service: RunningService): void {
    if (this.#closed || this.#certificate === undefined) return;
    const leftMs = this.#certificate.expirySeconds * 1000 - this.#options.nowMs();
    this.#timer = setTimeout(
      () => void this.keepAttested(service).catch(this.#options.onError),
      Math.min(leftMs / 2, 2 ** 31 - 1),
    );
    this.#timer.unref();
  }
}
