/** PEM (RFC 7468): certificates and revocation lists one behind the other, with anything between them. */
export interface PemBlocks {
  readonly certificates: readonly Uint8Array[];
  readonly revocationLists: readonly Uint8Array[];
}

/** All lines of a vendor's products take less than a tenth. */
export const PEM_BYTES_MAX = 1024 * 1024;
const BLOCKS_MAX = 64;

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,32})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;

/** Undefined when it is too long, has none or too many, or one begins and is no block: nothing is left out silently. */
export function parsePem(bytes: Uint8Array): PemBlocks | undefined {
  if (bytes.length > PEM_BYTES_MAX) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const certificates: Uint8Array[] = [];
  const revocationLists: Uint8Array[] = [];
  let blockCount = 0;
  for (const [, label, body] of text.matchAll(BLOCK)) {
    blockCount++;
    const base64 = body!.replaceAll(/\s/g, '');
    const der = Buffer.from(base64, 'base64');
    if (der.length === 0 || der.toString('base64') !== base64) return undefined;
    if (label === 'CERTIFICATE') certificates.push(new Uint8Array(der));
    else if (label === 'X509 CRL') revocationLists.push(new Uint8Array(der));
    else return undefined;
  }
  const begunCount = text.split('-----BEGIN ').length - 1;
  if (blockCount === 0 || blockCount > BLOCKS_MAX || blockCount !== begunCount) return undefined;
  return { certificates, revocationLists };
}
