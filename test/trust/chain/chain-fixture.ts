import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateSigningKeyPair, hash } from '../../../workers/signing.ts';
import { Policy } from '../../../src/trust/evidence/policy.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { CasConnection, parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import type { CasJudgement } from '../../../src/trust/chain/cas-connection.ts';
import type { CasSettings } from '../../../src/trust/chain/cas-init.ts';
import { runCas } from '../../../src/trust/chain/cas-service.ts';
import type { CasServiceOptions, RunningCas } from '../../../src/trust/chain/cas-service.ts';
import type { CasEvent } from '../../../src/trust/chain/chain-events.ts';
import { runLas } from '../../../src/trust/chain/las.ts';
import type { LasEvent, RunningLas } from '../../../src/trust/chain/las.ts';
import { EvidenceJudge } from '../../../src/trust/chain/platform.ts';
import type { Platform } from '../../../src/trust/chain/platform.ts';
import { createSimulatedMachine, simulatedPlatform } from '../../../src/trust/chain/simulated-machine.ts';
import type { SimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';

/** A chain in one process: CAS and LASes over HTTPS on loopback, on simulated machines. Everything ends with close(). */
export const BUILD = measurementNamed('the build');

/** 48 bytes that stand for a build. */
export function measurementNamed(name: string): Uint8Array {
  const first = hash(new TextEncoder().encode(name));
  return Uint8Array.from([...first, ...first.subarray(0, 16)]);
}

export function policyText(measurement: Uint8Array): string {
  const entry = [{ kind: 'simulated', measurements: [hexOf(measurement)] }];
  const roles = { cas: entry, las: entry, replica: entry, client: entry };
  return JSON.stringify({ format: 'avocado-policy', version: 1, roles });
}

export class Chain {
  readonly directory = mkdtempSync(join(tmpdir(), 'avocado-chain-'));
  readonly operator = generateSigningKeyPair();
  readonly casMachine = createSimulatedMachine();
  /** Of CAS. */
  judge = new EvidenceJudge();
  readonly events: CasEvent[] = [];
  readonly lasEvents: LasEvent[] = [];
  readonly errors: unknown[] = [];
  /** Added to the time that CAS and LAS see. */
  aheadMs = 0;
  cas!: RunningCas;
  readonly #closers: (() => Promise<void>)[] = [];

  static async start(settings: Partial<CasSettings> = {}): Promise<Chain> {
    const chain = new Chain();
    try {
      await chain.startCas(chain.settings(settings));
      return chain;
    } catch (error) {
      await chain.close();
      throw error;
    }
  }

  settings(changed: Partial<CasSettings> = {}): CasSettings {
    return {
      mode: 'secure',
      members: [7400, 7401, 7402].map((port) => ({ host: '127.0.0.1', port })),
      policy: policyText(BUILD),
      admission: 'both',
      certificateSeconds: 3_600,
      operators: [hexOf(this.operator.publicKey)],
      policyThreshold: 1,
      ...changed,
    };
  }

  /** @param settings Undefined: from the state in the directory. */
  async startCas(
    settings?: CasSettings,
    directory = join(this.directory, 'cas'),
    more: Pick<CasServiceOptions, 'recovery' | 'recovered'> = {},
  ): Promise<RunningCas> {
    this.cas = await runCas({
      ...more,
      directory,
      host: '127.0.0.1',
      port: 0,
      platform: this.platform(this.casMachine),
      judge: this.judge,
      ...(settings !== undefined && { settings }),
      nowMs: () => this.nowMs(),
      onEvent: (event) => this.events.push(event),
      onError: (error) => this.errors.push(error),
    });
    const { cas } = this;
    this.#closers.push(() => cas.close());
    return cas;
  }

  async startLas(machine: SimulatedMachine, measurement = BUILD): Promise<RunningLas> {
    const las = await runLas({
      host: '127.0.0.1',
      port: 0,
      cas: parseCasReference(this.cas.reference),
      platform: this.platform(machine, measurement),
      judgement: this.judgement(),
      nowMs: () => this.nowMs(),
      onEvent: (event) => this.lasEvents.push(event),
      onError: (error) => this.errors.push(error),
    });
    this.#closers.push(() => las.close());
    return las;
  }

  platform(machine: SimulatedMachine, measurement = BUILD, vendorLatencyMs = 0): Platform {
    return simulatedPlatform({
      machine,
      measurement,
      vendorLatencyMs,
      nowMs: () => this.nowMs(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    });
  }

  judgement(): CasJudgement {
    const policy = Policy.parse(policyText(BUILD));
    return {
      judge: new EvidenceJudge(),
      policy: async (facts, reportData) => policy.judge(facts, { role: 'cas', reportData }),
      nowMs: () => this.nowMs(),
    };
  }

  async connect(): Promise<CasConnection> {
    const connection = await CasConnection.open(parseCasReference(this.cas.reference), this.judgement());
    this.#closers.push(async () => connection.close());
    return connection;
  }

  onClose(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  nowMs(): number {
    return Date.now() + this.aheadMs;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.toReversed()) await close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
