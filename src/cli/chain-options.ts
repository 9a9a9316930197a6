import { InvalidArgumentError, Option } from 'commander';
import type { ChainAccess } from '../trust/chain/chain-access.ts';
import { EVIDENCE_KINDS, SIMULATED_NOTICE } from '../trust/evidence/evidence.ts';
import type { EvidenceKind } from '../trust/evidence/evidence.ts';
import { durationMs } from './duration.ts';

/** Options of commands that take part in the chain of trust. */
export function casOption(): Option {
  return new Option('--cas <reference>', 'https://host:port#<cluster key>, as CAS prints it at its start');
}

export function lasOption(): Option {
  return new Option('--las <url>', "this host's LAS; left out: evidence to CAS itself, where its settings allow it");
}

export function teeOption(): Option {
  return new Option('--tee <kind>', `the platform that this runs on; ${SIMULATED_NOTICE}`)
    .choices(EVIDENCE_KINDS)
    .default('simulated');
}

export function machineOption(): Option {
  return new Option(
    '--machine <file>',
    'the simulated machine, which LAS and what it vouches for share; made if missing (default: ~/.avocado-machine.json)',
  );
}

export function vendorLatencyOption(): Option {
  return new Option(
    '--vendor-latency <duration>',
    "how long the simulated vendor's service takes (default: 0)",
  ).argParser(durationMs);
}

export function casPolicyOption(): Option {
  return new Option('--cas-policy <file>', 'policy by which CAS is judged (default: the same build as this one)');
}

export function collateralOption(): Option {
  return new Option('--collateral <file>', 'what the vendor publishes about the platform, see avocado attest verify');
}

export interface ChainOptions {
  readonly las?: string;
  readonly tee: EvidenceKind;
  readonly machine?: string;
  readonly vendorLatency?: number;
  readonly casPolicy?: string;
  readonly collateral?: string;
}

export function chainAccess(options: ChainOptions, cas: string): ChainAccess {
  const { las, tee, machine, vendorLatency, casPolicy, collateral } = options;
  return {
    cas,
    tee,
    ...(las !== undefined && { las }),
    ...(machine !== undefined && { machine }),
    ...(vendorLatency !== undefined && { vendorLatencyMs: vendorLatency }),
    ...(casPolicy !== undefined && { casPolicy }),
    ...(collateral !== undefined && { collateral }),
  };
}

/** host:port to listen at. */
export function listenAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new InvalidArgumentError('Give an address like 127.0.0.1:7480, 10.0.0.7:7480 or [::1]:7480.');
  }
  return { host, port };
}
