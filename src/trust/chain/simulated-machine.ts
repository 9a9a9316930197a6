import { z } from 'zod';
import { isEqual, keyedHash, randomBytes } from '../../../workers/signing.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { refuse, SIMULATED_NOTICE } from '../evidence/evidence.ts';
import type { Verification } from '../evidence/evidence.ts';
import { hexOfBytes, parseStrictJson } from '../evidence/strict-json.ts';
import { embeddedVendorKeys, SimulatedProvider, SimulatedVendor } from '../evidence/simulated.ts';
import type { LocalReports, Platform, SealingKeys } from './platform.ts';
import { readSecretFile, writeSecretFile } from './secret-file.ts';

/**
 * A machine in software: an id and a secret in a file of the user who runs it. On a real platform the secret is the
 * processor's; here whoever can read the file can make any local report and open any seal of this machine.
 */
export interface SimulatedMachine {
  /** 32 bytes each. */
  readonly platformId: Uint8Array;
  readonly secret: Uint8Array;
}

const FILE = z.strictObject({ notice: z.string().max(200), platformId: hexOfBytes(32), secret: hexOfBytes(32) });
const FILE_CHARS_MAX = 4 * 1024;

/** Reads the machine's file; makes one when there is none. */
export function openSimulatedMachine(path: string): SimulatedMachine {
  const text = readSecretFile(path);
  if (text === undefined) {
    const machine = createSimulatedMachine();
    const content = { notice: SIMULATED_NOTICE, platformId: hexOf(machine.platformId), secret: hexOf(machine.secret) };
    if (writeSecretFile(path, `${JSON.stringify(content)}\n`, 'new')) return machine;
    return openSimulatedMachine(path); // another process was quicker
  }
  const { platformId, secret } = parseStrictJson(text, FILE, path, FILE_CHARS_MAX);
  return { platformId: bytesOfHex(platformId), secret: bytesOfHex(secret) };
}

export function createSimulatedMachine(): SimulatedMachine {
  return { platformId: randomBytes(32), secret: randomBytes(32) };
}

export interface SimulatedPlatformOptions {
  readonly machine: SimulatedMachine;
  /** 48 bytes. */
  readonly measurement: Uint8Array;
  /** Of the vendor's service, which each process asks once. */
  readonly vendorLatencyMs: number;
  readonly debug?: boolean;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export function simulatedPlatform(options: SimulatedPlatformOptions): Platform {
  const { machine, measurement, vendorLatencyMs: latencyMs, debug = false, nowMs, sleep } = options;
  const vendor = new OnceAskedVendor({ keys: embeddedVendorKeys(), latencyMs, nowMs, sleep });
  return {
    kind: 'simulated',
    provider: new SimulatedProvider({ vendor, platformId: machine.platformId, measurement, debug }),
    local: new SimulatedLocalReports(machine, measurement, debug),
    sealing: simulatedSealing(machine, measurement),
  };
}

/** A certificate of the platform's key is kept as long as it is good, as Linux and DCAP keep theirs. */
class OnceAskedVendor extends SimulatedVendor {
  readonly #certificates = new Map<string, Promise<Uint8Array>>();

  override certify(platformId: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    const name = hexOf(publicKey);
    let certificate = this.#certificates.get(name);
    if (certificate === undefined) {
      certificate = super.certify(platformId, publicKey);
      this.#certificates.set(name, certificate);
    }
    return certificate;
  }
}

/** Report: measurement (48) | report data (64) | debug (1) | MAC (32) under the machine's secret. */
const MEASUREMENT_BYTES = 48;
const REPORT_DATA_END = MEASUREMENT_BYTES + 64;
const MAC_OFFSET = REPORT_DATA_END + 1;
const REPORT_BYTES = MAC_OFFSET + 32;

export class SimulatedLocalReports implements LocalReports {
  readonly #machine: SimulatedMachine;
  readonly #measurement: Uint8Array;
  readonly #debug: boolean;

  constructor(machine: SimulatedMachine, measurement: Uint8Array, debug: boolean) {
    this.#machine = machine;
    this.#measurement = measurement;
    this.#debug = debug;
  }

  async make(reportData: Uint8Array): Promise<Uint8Array> {
    const report = new Uint8Array(REPORT_BYTES);
    report.set(this.#measurement);
    report.set(reportData, MEASUREMENT_BYTES);
    report[REPORT_DATA_END] = this.#debug ? 1 : 0;
    report.set(macOf(report, this.#machine), MAC_OFFSET);
    return report;
  }

  verify(report: Uint8Array): Verification {
    if (report.length !== REPORT_BYTES || report[REPORT_DATA_END]! > 1) {
      return refuse('malformed', `a simulated local report of ${REPORT_BYTES} bytes`, `${report.length} other bytes`);
    }
    if (!isEqual(report.subarray(MAC_OFFSET), macOf(report, this.#machine))) {
      return refuse('signature', 'a local report of this machine', 'one of another machine, or changed bytes');
    }
    return {
      ok: true,
      facts: {
        kind: 'simulated',
        measurement: hexOf(report.subarray(0, MEASUREMENT_BYTES)),
        signers: [],
        registers: {},
        reportData: report.slice(MEASUREMENT_BYTES, REPORT_DATA_END),
        tcb: { securityVersion: 1 },
        tcbStatus: undefined,
        advisoryIds: [],
        debug: report[REPORT_DATA_END] === 1,
        migrationAgent: false,
        platformId: hexOf(this.#machine.platformId),
        vmpl: undefined,
        revocationChecked: false,
        validFromMs: 0,
        validUntilMs: Number.MAX_SAFE_INTEGER,
        shown: [{ label: 'notice', value: SIMULATED_NOTICE }],
      },
    };
  }
}

function macOf(report: Uint8Array, { secret }: SimulatedMachine): Uint8Array {
  return keyedHash(report.subarray(0, MAC_OFFSET), derivedKey(secret, 'local report'));
}

function simulatedSealing({ secret }: SimulatedMachine, measurement: Uint8Array): SealingKeys {
  return {
    description: `a file of this machine's user (${SIMULATED_NOTICE})`,
    key: async () => keyedHash(measurement, derivedKey(secret, 'sealing')),
  };
}

function derivedKey(secret: Uint8Array, purpose: string): Uint8Array {
  return keyedHash(new TextEncoder().encode(`avocado simulated machine: ${purpose}`), secret);
}
