import { generateSigningKeyPair, hash, signingKeyPairOf } from '../../../workers/signing.ts';
import type { KeyPair } from '../../../workers/signing.ts';
import { judgeTime } from './chain.ts';
import { refuse } from './evidence.ts';
import type { Evidence, EvidenceProvider, EvidenceVerifier, Verification, VerificationContext } from './evidence.ts';
import { hexOf } from '../hex.ts';
import {
  isCertificateSignedBy,
  isReportSignedBy,
  parsePlatformCertificate,
  parseSimulatedReport,
  writePlatformCertificate,
  writeSimulatedReport,
} from './simulated-report.ts';

/**
 * A platform in software, for development and tests: the same way of things as on real ones (a vendor that certifies
 * platforms, slowly; a platform that signs reports), and no protection at all. Whoever can read this file can sign as the
 * embedded vendor.
 */
const EMBEDDED_SEED = hash(new TextEncoder().encode('avocado simulated vendor: anybody can make this key'));

export function embeddedVendorKeys(): KeyPair {
  return signingKeyPairOf(EMBEDDED_SEED);
}

/** A platform's certificate is good for so long. */
const CERTIFICATE_LIFE_MS = 30 * 24 * 3_600_000;
/** Clocks differ; as far as that a certificate is good before it was made. */
const CLOCK_SKEW_MS = 5 * 60_000;

export interface SimulatedVendorOptions {
  readonly keys: KeyPair;
  /** How long the vendor takes to answer; Intel's service took hundreds of milliseconds, and that is why there is a CAS. */
  readonly latencyMs: number;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** The vendor's service: certifies the key of a platform. */
export class SimulatedVendor {
  readonly #options: SimulatedVendorOptions;

  constructor(options: SimulatedVendorOptions) {
    this.#options = options;
  }

  async certify(platformId: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    const { keys, latencyMs, nowMs, sleep } = this.#options;
    if (latencyMs > 0) await sleep(latencyMs);
    const madeMs = nowMs();
    return writePlatformCertificate(
      {
        validFromMs: Math.max(0, madeMs - CLOCK_SKEW_MS),
        validUntilMs: madeMs + CERTIFICATE_LIFE_MS,
        platformId,
        publicKey,
      },
      keys.secretKey,
    );
  }
}

export interface SimulatedProviderOptions {
  readonly vendor: SimulatedVendor;
  /** 32 bytes that stand for one machine. */
  readonly platformId: Uint8Array;
  /** 48 bytes: `avocado measure`. */
  readonly measurement: Uint8Array;
  readonly securityVersion?: number;
  readonly debug?: boolean;
}

/** One platform, its key new with each process. Each evidence asks the vendor, as that of real ones did at first. */
export class SimulatedProvider implements EvidenceProvider {
  readonly kind = 'simulated';
  readonly #options: SimulatedProviderOptions;
  readonly #keys = generateSigningKeyPair();

  constructor(options: SimulatedProviderOptions) {
    this.#options = options;
  }

  async makeEvidence(reportData: Uint8Array): Promise<Evidence> {
    const { vendor, platformId, measurement, securityVersion = 1, debug = false } = this.#options;
    const report = writeSimulatedReport(
      { debug, securityVersion, platformId, measurement, reportData },
      this.#keys.secretKey,
    );
    const certificate = await vendor.certify(platformId, this.#keys.publicKey);
    return { kind: 'simulated', report, certificates: [{ name: 'platform', bytes: certificate }] };
  }
}

export class SimulatedVerifier implements EvidenceVerifier {
  readonly kind = 'simulated';
  readonly #vendorPublicKey: Uint8Array;

  constructor(vendorPublicKey: Uint8Array = embeddedVendorKeys().publicKey) {
    this.#vendorPublicKey = vendorPublicKey;
  }

  verify(evidence: Evidence, { nowMs }: VerificationContext): Verification {
    const report = parseSimulatedReport(evidence.report);
    if (report === undefined) {
      return refuse('malformed', 'a simulated report, version 1', `${evidence.report.length} bytes that are none`);
    }
    const bytes = evidence.certificates.find(({ name }) => name === 'platform')?.bytes;
    const certificate = bytes === undefined ? undefined : parsePlatformCertificate(bytes);
    if (bytes === undefined || certificate === undefined) {
      return refuse('malformed', 'the certificate of a simulated platform', bytes === undefined ? 'none' : 'another');
    }
    if (!isCertificateSignedBy(bytes, this.#vendorPublicKey)) {
      return refuse('root', `a platform certified by ${hexOf(this.#vendorPublicKey)}`, 'another signature');
    }
    const badTime = judgeTime("the platform's certificate", certificate.validFromMs, certificate.validUntilMs, nowMs);
    if (badTime !== undefined) return badTime;
    if (!isReportSignedBy(evidence.report, certificate.publicKey)) {
      return refuse('signature', 'a report signed by the platform', 'another signature, or changed bytes');
    }
    if (Buffer.compare(report.platformId, certificate.platformId) !== 0) {
      return refuse('chip', `the certificate's platform, ${hexOf(certificate.platformId)}`, hexOf(report.platformId));
    }
    return {
      ok: true,
      facts: {
        kind: 'simulated',
        measurement: hexOf(report.measurement),
        signers: [],
        registers: {},
        reportData: report.reportData,
        tcb: { securityVersion: report.securityVersion },
        tcbStatus: undefined,
        advisoryIds: [],
        debug: report.debug,
        migrationAgent: false,
        platformId: hexOf(report.platformId),
        vmpl: undefined,
        revocationChecked: false,
        validFromMs: certificate.validFromMs,
        validUntilMs: certificate.validUntilMs,
        shown: [],
      },
    };
  }
}
