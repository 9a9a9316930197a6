import { readFileSync } from 'node:fs';
import { keyedHash } from '../../../workers/signing.ts';
import { AvocadoError } from '../../errors.ts';
import type { EvidenceKind } from '../evidence/evidence.ts';
import type { SealingKeys } from './platform.ts';

/** Gramine derives it from the processor's sealing key and MRENCLAVE (Gramine, "Attestation and secret provisioning"). */
const GRAMINE_KEY = '/dev/attestation/keys/_sgx_mrenclave';
const GRAMINE_KEY_BYTES = 16;
const PURPOSE = new TextEncoder().encode('avocado state sealing 1');

/** Untested on a real enclave. */
export function gramineSealing(path = GRAMINE_KEY): SealingKeys {
  return {
    description: 'the processor, for this enclave only (SGX, MRENCLAVE)',
    key: async () => {
      let key: Uint8Array;
      try {
        key = readFileSync(path);
      } catch (error) {
        throw unavailable(`${path} can't be read: run under Gramine with SGX and sgx.remote_attestation set`, error);
      }
      if (key.length !== GRAMINE_KEY_BYTES) {
        throw unavailable(`${path} has ${key.length} bytes, not ${GRAMINE_KEY_BYTES}: run a later Gramine`);
      }
      return keyedHash(PURPOSE, key);
    },
  };
}

/** SNP derives keys by an ioctl, TDX has none; neither is a file. */
export function noSealing(kind: EvidenceKind): SealingKeys {
  const key = (): Promise<never> =>
    Promise.reject(
      unavailable(`this version has no sealing key on ${kind}: run CAS on sgx, and everything else wherever you like`),
    );
  return { description: `none on ${kind}`, key };
}

function unavailable(message: string, cause?: unknown): AvocadoError {
  return new AvocadoError('EVIDENCE_UNAVAILABLE', message, cause === undefined ? undefined : { cause });
}
