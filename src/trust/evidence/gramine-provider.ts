import { assert } from '../../../net/assert.ts';
import { AvocadoError } from '../../errors.ts';
import { REPORT_DATA_BYTES } from './evidence.ts';
import type { Evidence, EvidenceProvider } from './evidence.ts';
import { codeOf, SYSTEM_FILES } from './report-files.ts';
import type { ReportFiles } from './report-files.ts';

/**
 * SGX quotes through Gramine's /dev/attestation: user_report_data is written, quote is read. The files are one for the whole
 * enclave, so requests wait for each other.
 */
export const GRAMINE_ROOT = '/dev/attestation';

/** In a quote: the header of 48 bytes, and 320 bytes of the report before its data. */
const REPORT_DATA_OFFSET = 48 + 320;

export interface GramineProviderOptions {
  readonly root?: string;
  readonly files?: ReportFiles;
}

export class GramineProvider implements EvidenceProvider {
  readonly kind = 'sgx';
  readonly #root: string;
  readonly #files: ReportFiles;
  #last: Promise<unknown> = Promise.resolve();

  constructor({ root = GRAMINE_ROOT, files = SYSTEM_FILES }: GramineProviderOptions = {}) {
    this.#root = root;
    this.#files = files;
  }

  makeEvidence(reportData: Uint8Array): Promise<Evidence> {
    assert(reportData.length === REPORT_DATA_BYTES, 'report data has 64 bytes');
    const made = this.#last.then(() => this.#request(reportData));
    this.#last = made.catch(() => {});
    return made;
  }

  async #request(reportData: Uint8Array): Promise<Evidence> {
    await this.#checkType();
    let report: Uint8Array;
    try {
      await this.#files.write(`${this.#root}/user_report_data`, reportData);
      report = await this.#files.read(`${this.#root}/quote`);
    } catch (error) {
      const advice = "the host must run Intel's aesmd with the quoting enclave, and have a PCK certificate";
      throw unavailable(`the quote failed (${codeOf(error)}): ${advice}`, error);
    }
    const bound = report.subarray(REPORT_DATA_OFFSET, REPORT_DATA_OFFSET + REPORT_DATA_BYTES);
    if (Buffer.compare(bound, reportData) !== 0) {
      throw unavailable('the quote is not over the data that was asked for: does another part of the enclave use it?');
    }
    return { kind: 'sgx', report, certificates: [] };
  }

  async #checkType(): Promise<void> {
    let type: string;
    try {
      type = new TextDecoder().decode(await this.#files.read(`${this.#root}/attestation_type`)).trim();
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        throw unavailable(`there is no ${this.#root}: run under gramine-sgx, see deploy/`, error);
      }
      throw unavailable(`${this.#root} can't be read (${code}): run under gramine-sgx, see deploy/`, error);
    }
    if (type === 'dcap') return;
    const advice = 'set sgx.remote_attestation = "dcap" in the manifest and sign it anew';
    throw unavailable(`Gramine's attestation is ${JSON.stringify(type)}: ${advice}`);
  }
}

function unavailable(reason: string, cause?: unknown): AvocadoError {
  return new AvocadoError(
    'EVIDENCE_UNAVAILABLE',
    `no sgx evidence, ${reason}`,
    cause === undefined ? undefined : { cause },
  );
}
