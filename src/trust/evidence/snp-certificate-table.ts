import { hexOf } from '../hex.ts';
import type { CertificateName, EvidenceCertificate } from './evidence.ts';
import { CERTIFICATE_BYTES_MAX } from './evidence-file.ts';

/**
 * The certificates that a host hands to its SNP guests (AMD 56421, "GHCB standardization", certificate table): entries of a
 * GUID, an offset and a length, little endian, up to one that is zero; then the certificates.
 */
const GUID_BYTES = 16;
const ENTRY_BYTES = 24;
/** AMD defines five; the table is the host's. */
const ENTRIES_MAX = 32;

const NAMES: ReadonlyMap<string, CertificateName> = new Map([
  ['63da758de6644564adc5f4b93be8accd', 'vcek'],
  ['a8074bc2a25a483eaae639c045a0b8a1', 'vlek'],
  ['4ab7b379bbac4fe4a02f05aef327c782', 'ask'],
  ['c0b406a4a803495297433fb6014cd0ae', 'ark'],
]);

/** Of known GUIDs, each once; others are passed over. Undefined when it is no table. */
export function readCertificateTable(bytes: Uint8Array): EvidenceCertificate[] | undefined {
  // No certificates at all: no table either.
  if (bytes.length === 0) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const certificates: EvidenceCertificate[] = [];
  for (let i = 0; i < ENTRIES_MAX; i++) {
    const entry = i * ENTRY_BYTES;
    if (entry + ENTRY_BYTES > bytes.length) return undefined;
    const guid = hexOf(bytes.subarray(entry, entry + GUID_BYTES));
    if (/^0+$/.test(guid)) return certificates;
    const offset = view.getUint32(entry + GUID_BYTES, true);
    const byteCount = view.getUint32(entry + GUID_BYTES + 4, true);
    if (offset + byteCount > bytes.length) return undefined;
    const name = NAMES.get(guid);
    if (name === undefined) continue;
    const isRepeated = certificates.some((known) => known.name === name);
    if (isRepeated || byteCount === 0 || byteCount > CERTIFICATE_BYTES_MAX) return undefined;
    certificates.push({ name, bytes: bytes.slice(offset, offset + byteCount) });
  }
  return undefined;
}
