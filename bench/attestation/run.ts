import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { generateStaticKeyPair } from '../../workers/signing.ts';
import { startEmbeddedChain } from '../../src/server/embedded-chain.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { ChainAccess } from '../../src/trust/chain/chain-access.ts';
import { join } from '../../src/trust/chain/join-cluster.ts';

/**
 * How long enclaves take from their start to their keys: each by the vendor's service, and all through a LAS that was
 * attested once. The vendor is simulated and its latency given; TLS, evidence, vouchers, CAS's disk and its witness are real.
 */
export interface AttestationOptions {
  readonly enclaves: number;
  readonly vendorLatencyMs: number;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

export interface AttestationReport {
  readonly enclaves: number;
  readonly vendorLatencyMs: number;
  /** Once a host, before its first enclave; here CAS, which the LAS verifies, is new as well. */
  readonly lasAttestedMs: number;
  readonly vendor: PathTimes;
  readonly las: PathTimes;
  /** vendor / las, of the medians. */
  readonly timesFaster: number;
  /** The same with LAS's own attestation counted in: what n enclaves of one new host take. */
  readonly timesFasterWithLas: number;
}

export interface PathTimes {
  readonly medianMs: number;
  readonly maxMs: number;
  readonly totalMs: number;
}

const MEMBERS = [{ host: '127.0.0.1', port: 7400 }];

export async function runAttestation(options: AttestationOptions): Promise<AttestationReport> {
  const { enclaves, vendorLatencyMs, signal, progress } = options;
  const directory = mkdtempSync(joinPath(tmpdir(), 'avocado-attestation-'));
  let lasAttestedMs = 0;
  try {
    const chain = await startEmbeddedChain({
      directory,
      members: MEMBERS,
      mode: 'secure',
      admission: 'both',
      vendorLatencyMs,
      onLas: (event) => {
        if (event.type === 'attested') lasAttestedMs = event.ms;
      },
    });
    try {
      const path = async (name: string, las: boolean): Promise<PathTimes> => {
        const times: number[] = [];
        for (let i = 0; i < enclaves; i++) {
          signal.throwIfAborted();
          progress(`${name}: ${i + 1} of ${enclaves}`);
          times.push(await admitOne(chain.access, las));
        }
        return timesOf(times);
      };
      const throughLas = await path('through LAS', true);
      const byVendor = await path('by the vendor', false);
      return {
        enclaves,
        vendorLatencyMs,
        lasAttestedMs,
        vendor: byVendor,
        las: throughLas,
        timesFaster: byVendor.medianMs / throughLas.medianMs,
        timesFasterWithLas: byVendor.totalMs / (throughLas.totalMs + lasAttestedMs),
      };
    } finally {
      await chain.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A new enclave: with a platform key of its own, which the vendor has not seen, and no connection yet. */
async function admitOne(access: ChainAccess, throughLas: boolean): Promise<number> {
  const platform = openPlatform(access);
  const startMs = performance.now();
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, platform));
  try {
    await join(cas, generateStaticKeyPair(), {
      role: 'client',
      memberIndex: null,
      wantsDataKeys: true,
      platform,
      lasUrl: throughLas ? access.las : undefined,
    });
    return performance.now() - startMs;
  } finally {
    cas.close();
  }
}

function timesOf(times: readonly number[]): PathTimes {
  const sorted = times.toSorted((a, b) => a - b);
  return {
    medianMs: sorted[Math.floor(sorted.length / 2)]!,
    maxMs: sorted.at(-1)!,
    totalMs: times.reduce((sum, each) => sum + each, 0),
  };
}
