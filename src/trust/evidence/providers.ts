import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { hash } from '../../../workers/signing.ts';
import { measureOwnBuild } from '../measure/own-build.ts';
import type { EvidenceKind, EvidenceProvider } from './evidence.ts';
import { GramineProvider } from './gramine-provider.ts';
import { embeddedVendorKeys, SimulatedProvider, SimulatedVendor } from './simulated.ts';
import { TsmProvider } from './tsm-provider.ts';

export interface ProviderOptions {
  /** Of the simulated vendor. */
  readonly vendorLatencyMs: number;
}

/** What makes evidence of a kind on this machine, if anything does; that shows when it is asked. */
export function providerOf(kind: EvidenceKind, { vendorLatencyMs }: ProviderOptions): EvidenceProvider {
  if (kind === 'sgx') return new GramineProvider();
  if (kind !== 'simulated') return new TsmProvider(kind);
  const vendor = new SimulatedVendor({
    keys: embeddedVendorKeys(),
    latencyMs: vendorLatencyMs,
    nowMs: Date.now,
    sleep: (ms) => sleep(ms),
  });
  return new SimulatedProvider({
    vendor,
    platformId: hash(new TextEncoder().encode(`avocado simulated platform\0${hostname()}`)),
    measurement: Uint8Array.from(Buffer.from(measureOwnBuild().hash, 'hex')),
  });
}
