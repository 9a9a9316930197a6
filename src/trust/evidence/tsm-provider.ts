import { assert } from '../../../net/assert.ts';
import { randomBytes } from '../../../workers/signing.ts';
import { AvocadoError } from '../../errors.ts';
import { hexOf } from '../hex.ts';
import { REPORT_DATA_BYTES } from './evidence.ts';
import type { Evidence, EvidenceCertificate, EvidenceProvider } from './evidence.ts';
import { codeOf, SYSTEM_FILES } from './report-files.ts';
import type { ReportFiles } from './report-files.ts';
import { readCertificateTable } from './snp-certificate-table.ts';

/**
 * SEV-SNP reports and TDX quotes through Linux's configfs (6.7 and later; Documentation/ABI/testing/configfs-tsm-report).
 * A directory is one request: inblob is written, outblob and auxblob are read. `generation` grows by one with each write,
 * so if it grew by more than this process wrote, another process wrote too, and the report may be over its data.
 */
export const TSM_ROOT = '/sys/kernel/config/tsm/report';

/** A name of our own is not met by accident; who meets it on purpose wins nothing but a failure. */
const ATTEMPTS_MAX = 5;

interface Platform {
  /** As the file `provider` has it: the kernel module's name. */
  readonly provider: string;
  readonly guest: string;
  /** Where the report data lies in the report: AMD 56860, ATTESTATION_REPORT; Intel's TD quote, header and body. */
  readonly reportDataOffset: number;
}

const PLATFORMS: Readonly<Record<'sev-snp' | 'tdx', Platform>> = {
  'sev-snp': { provider: 'sev_guest', guest: 'an SEV-SNP', reportDataOffset: 0x50 },
  tdx: { provider: 'tdx_guest', guest: 'a TDX', reportDataOffset: 48 + 520 },
};

export interface TsmProviderOptions {
  readonly root?: string;
  readonly files?: ReportFiles;
}

export class TsmProvider implements EvidenceProvider {
  readonly kind: 'sev-snp' | 'tdx';
  readonly #platform: Platform;
  readonly #root: string;
  readonly #files: ReportFiles;

  constructor(kind: 'sev-snp' | 'tdx', { root = TSM_ROOT, files = SYSTEM_FILES }: TsmProviderOptions = {}) {
    this.kind = kind;
    this.#platform = PLATFORMS[kind];
    this.#root = root;
    this.#files = files;
  }

  async makeEvidence(reportData: Uint8Array): Promise<Evidence> {
    assert(reportData.length === REPORT_DATA_BYTES, 'report data has 64 bytes');
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const evidence = await this.#inDirectory((directory) => this.#request(directory, reportData));
      if (evidence !== undefined) return evidence;
    }
    throw this.#unavailable(
      `another process wrote to the request in each of ${ATTEMPTS_MAX} tries: find out what else uses ${this.#root}`,
    );
  }

  async #inDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
    const directory = `${this.#root}/avocado-${hexOf(randomBytes(8))}`;
    try {
      await this.#files.makeDirectory(directory);
    } catch (error) {
      throw this.#unavailable(this.#adviceOnDirectory(codeOf(error)), error);
    }
    try {
      return await use(directory);
    } finally {
      // An empty request that stays behind does no harm; the evidence, or the error, matters more.
      await this.#files.removeDirectory(directory).catch(() => {});
    }
  }

  /** Undefined when another wrote in between. */
  async #request(directory: string, reportData: Uint8Array): Promise<Evidence | undefined> {
    try {
      const provider = (await this.#readText(`${directory}/provider`)).trim();
      if (provider !== this.#platform.provider) {
        throw this.#unavailable(`this machine's reports are of ${JSON.stringify(provider)}: ask for that kind`);
      }
      const before = await this.#readGeneration(directory);
      let writeCount = 0;
      const privilegeLevel = await this.#leastPrivilegeLevel(directory);
      if (privilegeLevel > 0) {
        await this.#files.write(`${directory}/privlevel`, new TextEncoder().encode(String(privilegeLevel)));
        writeCount++;
      }
      await this.#files.write(`${directory}/inblob`, reportData);
      writeCount++;
      const report = await this.#files.read(`${directory}/outblob`);
      const certificates = this.kind === 'sev-snp' ? await this.#readCertificates(directory) : [];
      if ((await this.#readGeneration(directory)) !== before + BigInt(writeCount)) return undefined;
      this.#checkReportData(report, reportData);
      return { kind: this.kind, report, certificates };
    } catch (error) {
      if (error instanceof AvocadoError) throw error;
      const code = codeOf(error);
      // The kernel notices, too, that a request changed while its report was made.
      if (code === 'EAGAIN' || code === 'EBUSY') return undefined;
      throw this.#unavailable(this.#adviceOnRequest(code), error);
    }
  }

  /** Under a service module (SVSM) the guest runs at a lower level and may not ask for level 0. */
  async #leastPrivilegeLevel(directory: string): Promise<number> {
    if (this.kind !== 'sev-snp') return 0;
    try {
      const text = (await this.#readText(`${directory}/privlevel_floor`)).trim();
      return /^[0-3]$/.test(text) ? Number(text) : 0;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return 0;
      throw error;
    }
  }

  /** The table is the host's: what is wrong with it is noticed by whoever verifies, who may have certificates himself. */
  async #readCertificates(directory: string): Promise<EvidenceCertificate[]> {
    try {
      return readCertificateTable(await this.#files.read(`${directory}/auxblob`)) ?? [];
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  async #readGeneration(directory: string): Promise<bigint> {
    const text = (await this.#readText(`${directory}/generation`)).trim();
    if (!/^\d{1,20}$/.test(text)) throw this.#unavailable(`its generation is no number: ${JSON.stringify(text)}`);
    return BigInt(text);
  }

  async #readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.#files.read(path));
  }

  #checkReportData(report: Uint8Array, reportData: Uint8Array): void {
    const { reportDataOffset } = this.#platform;
    const bound = report.subarray(reportDataOffset, reportDataOffset + REPORT_DATA_BYTES);
    if (Buffer.compare(bound, reportData) === 0) return;
    throw this.#unavailable(`the report of ${report.length} bytes is not over the data that was asked for: try again`);
  }

  #adviceOnDirectory(code: string): string {
    const { guest, provider } = this.#platform;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return `there is no ${this.#root}: run in ${guest} guest with Linux 6.7 or later, modprobe ${provider}, and mount -t configfs none /sys/kernel/config`;
    }
    if (code === 'ENXIO') return `no module makes reports (ENXIO): run in ${guest} guest and modprobe ${provider}`;
    if (code === 'EACCES' || code === 'EPERM') {
      return `no directory may be made in ${this.#root} (${code}): run as root, or with CAP_DAC_OVERRIDE`;
    }
    return `no directory can be made in ${this.#root} (${code})`;
  }

  #adviceOnRequest(code: string): string {
    if (code === 'EACCES' || code === 'EPERM') {
      return `the files of a request in ${this.#root} may not be used (${code}): run as root`;
    }
    if (code === 'ENXIO')
      return `the module ${this.#platform.provider} was unloaded: modprobe ${this.#platform.provider}`;
    if (this.kind === 'tdx')
      return `the quote failed (${code}): the host must run Intel's quote generation service (QGS)`;
    return `the report failed (${code}): see what the kernel says, dmesg`;
  }

  #unavailable(reason: string, cause?: unknown): AvocadoError {
    const message = `no ${this.kind} evidence, ${reason}`;
    return new AvocadoError('EVIDENCE_UNAVAILABLE', message, cause === undefined ? undefined : { cause });
  }
}
