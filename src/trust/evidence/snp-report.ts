import { refuse } from './evidence.ts';
import type { Refusal } from './evidence.ts';

/**
 * The attestation report of AMD SEV-SNP, versions 2 to 5 (AMD 56860, "SEV Secure Nested Paging Firmware ABI
 * Specification", table ATTESTATION_REPORT). Little endian; reserved bytes are zero.
 *
 *     offset  bytes  field
 *      0x000      4  version
 *      0x004      4  guest SVN
 *      0x008      8  guest policy
 *      0x010     16  family id
 *      0x020     16  image id
 *      0x030      4  VMPL of who asked; 0xffffffff when the host did
 *      0x034      4  signature algorithm: 1, ECDSA P-384 with SHA-384
 *      0x038      8  current TCB
 *      0x040      8  platform info
 *      0x048      4  bit 0 author key, bit 1 masked chip id, bits 2 to 4 signing key (0 VCEK, 1 VLEK, 7 none)
 *      0x050     64  report data
 *      0x090     48  measurement
 *      0x0c0     32  host data
 *      0x0e0     48  id key digest
 *      0x110     48  author key digest
 *      0x140     32  report id
 *      0x160     32  report id of the migration agent
 *      0x180      8  reported TCB
 *      0x188      3  family, model, stepping of the processor (version 3 and later)
 *      0x1a0     64  chip id
 *      0x1e0      8  committed TCB
 *      0x1e8      3  current firmware: build, minor, major
 *      0x1ec      3  committed firmware: build, minor, major
 *      0x1f0      8  launch TCB
 *      0x1f8      8  launch mitigation vector (version 5)
 *      0x200      8  current mitigation vector (version 5)
 *      0x2a0    144  signature over bytes [0, 0x2a0): r and s, 72 bytes each
 */
export const SNP_REPORT_BYTES = 0x4a0;
export const SNP_SIGNED_BYTES = 0x2a0;
/** r and s as little-endian integers, each in so many bytes, of which a P-384 integer fills the first 48. */
const SCALAR_FIELD_BYTES = 72;
const SCALAR_BYTES = 48;
const SIGNATURE_END = SNP_SIGNED_BYTES + 2 * SCALAR_FIELD_BYTES;

const VERSION_MIN = 2;
const VERSION_MAX = 5;
const VERSION_WITH_PROCESSOR = 3;
const VERSION_WITH_MITIGATIONS = 5;

export const SNP_POLICY_SMT = 1n << 16n;
export const SNP_POLICY_RESERVED_ONE = 1n << 17n;
export const SNP_POLICY_MIGRATION_AGENT = 1n << 18n;
export const SNP_POLICY_DEBUG = 1n << 19n;
/** Above the last that is defined; an unknown bit may permit anything. */
const POLICY_BITS_KNOWN = (1n << 26n) - 1n;

const VMPL_MAX = 3;
const ALGORITHM_ECDSA_P384_SHA384 = 1;
const FLAG_AUTHOR_KEY = 1;
const FLAGS_KNOWN = 0x1f;
const SIGNING_KEY_SHIFT = 2;

export type SnpSigningKey = 'vcek' | 'vlek';
const SIGNING_KEYS: ReadonlyMap<number, SnpSigningKey> = new Map([
  [0, 'vcek'],
  [1, 'vlek'],
]);

/** A TCB_VERSION, undecoded: the order of its parts depends on the product line. */
export type SnpTcbBytes = Uint8Array;

export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  readonly policy: bigint;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  readonly vmpl: number;
  readonly platformInfo: bigint;
  readonly signingKey: SnpSigningKey;
  readonly hasAuthorKey: boolean;
  readonly reportData: Uint8Array;
  readonly measurement: Uint8Array;
  readonly hostData: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  readonly reportId: Uint8Array;
  readonly migrationAgentReportId: Uint8Array;
  readonly processor: { readonly family: number; readonly model: number; readonly stepping: number } | undefined;
  /** Zero where the host masks it. */
  readonly chipId: Uint8Array;
  readonly currentTcb: SnpTcbBytes;
  readonly reportedTcb: SnpTcbBytes;
  readonly committedTcb: SnpTcbBytes;
  readonly launchTcb: SnpTcbBytes;
  /** "major.minor.build". */
  readonly currentFirmware: string;
  readonly committedFirmware: string;
  readonly mitigations: { readonly launch: bigint; readonly current: bigint } | undefined;
  readonly signedBytes: Uint8Array;
  /** r and s, 48 bytes each, big endian, as IEEE P1363 has it. */
  readonly signature: Uint8Array;
}

export function parseSnpReport(bytes: Uint8Array): { readonly ok: true; readonly report: SnpReport } | Refusal {
  if (bytes.length !== SNP_REPORT_BYTES) {
    return refuse('malformed', `a report of ${SNP_REPORT_BYTES} bytes`, `${bytes.length} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const part = (offset: number, byteCount: number): Uint8Array => bytes.slice(offset, offset + byteCount);

  const version = view.getUint32(0x00, true);
  if (version < VERSION_MIN || version > VERSION_MAX) {
    return refuse('malformed', `report versions ${VERSION_MIN} to ${VERSION_MAX}`, `version ${version}`);
  }
  const filled = firstFilledByte(bytes, reservedRanges(version));
  if (filled !== undefined) return refuse('malformed', 'zero in reserved bytes', `a value at offset ${hex(filled)}`);

  const policy = view.getBigUint64(0x08, true);
  if ((policy & SNP_POLICY_RESERVED_ONE) === 0n || (policy & ~POLICY_BITS_KNOWN) !== 0n) {
    return refuse(
      'malformed',
      'a guest policy with bit 17 set and none above 25',
      `guest policy 0x${policy.toString(16)}`,
    );
  }
  const vmpl = view.getUint32(0x30, true);
  // A report that the host asked for has no report data of the guest's.
  if (vmpl > VMPL_MAX) return refuse('malformed', `VMPL 0 to ${VMPL_MAX}`, `VMPL ${hex(vmpl)}`);
  const algorithm = view.getUint32(0x34, true);
  if (algorithm !== ALGORITHM_ECDSA_P384_SHA384) {
    return refuse('malformed', 'signature algorithm 1 (ECDSA P-384 with SHA-384)', `algorithm ${algorithm}`);
  }
  const flags = view.getUint32(0x48, true);
  const signingKey = SIGNING_KEYS.get((flags & FLAGS_KNOWN) >> SIGNING_KEY_SHIFT);
  if (signingKey === undefined || (flags & ~FLAGS_KNOWN) !== 0) {
    return refuse('malformed', 'a report signed with a VCEK (0) or VLEK (1)', `key information ${hex(flags)}`);
  }
  return {
    ok: true,
    report: {
      version,
      guestSvn: view.getUint32(0x04, true),
      policy,
      familyId: part(0x10, 16),
      imageId: part(0x20, 16),
      vmpl,
      platformInfo: view.getBigUint64(0x40, true),
      signingKey,
      hasAuthorKey: (flags & FLAG_AUTHOR_KEY) !== 0,
      reportData: part(0x50, 64),
      measurement: part(0x90, 48),
      hostData: part(0xc0, 32),
      idKeyDigest: part(0xe0, 48),
      authorKeyDigest: part(0x110, 48),
      reportId: part(0x140, 32),
      migrationAgentReportId: part(0x160, 32),
      processor:
        version >= VERSION_WITH_PROCESSOR
          ? { family: bytes[0x188]!, model: bytes[0x189]!, stepping: bytes[0x18a]! }
          : undefined,
      chipId: part(0x1a0, 64),
      currentTcb: part(0x38, 8),
      reportedTcb: part(0x180, 8),
      committedTcb: part(0x1e0, 8),
      launchTcb: part(0x1f0, 8),
      currentFirmware: `${bytes[0x1ea]}.${bytes[0x1e9]}.${bytes[0x1e8]}`,
      committedFirmware: `${bytes[0x1ee]}.${bytes[0x1ed]}.${bytes[0x1ec]}`,
      mitigations:
        version >= VERSION_WITH_MITIGATIONS
          ? { launch: view.getBigUint64(0x1f8, true), current: view.getBigUint64(0x200, true) }
          : undefined,
      signedBytes: part(0, SNP_SIGNED_BYTES),
      signature: signatureOf(bytes),
    },
  };
}

/** [from, to) of what no version, or a later one, uses; the last three hold what is left of r, of s and of the field. */
function reservedRanges(version: number): readonly (readonly [number, number])[] {
  const firstScalarEnd = SNP_SIGNED_BYTES + SCALAR_BYTES;
  const secondScalar = SNP_SIGNED_BYTES + SCALAR_FIELD_BYTES;
  return [
    [0x4c, 0x50],
    [version >= VERSION_WITH_PROCESSOR ? 0x18b : 0x188, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    [version >= VERSION_WITH_MITIGATIONS ? 0x208 : 0x1f8, SNP_SIGNED_BYTES],
    [firstScalarEnd, secondScalar],
    [secondScalar + SCALAR_BYTES, SIGNATURE_END],
    [SIGNATURE_END, SNP_REPORT_BYTES],
  ];
}

function firstFilledByte(bytes: Uint8Array, ranges: readonly (readonly [number, number])[]): number | undefined {
  for (const [from, to] of ranges) {
    for (let i = from; i < to; i++) if (bytes[i] !== 0) return i;
  }
  return undefined;
}

function signatureOf(bytes: Uint8Array): Uint8Array {
  const signature = new Uint8Array(2 * SCALAR_BYTES);
  for (const index of [0, 1]) {
    const offset = SNP_SIGNED_BYTES + index * SCALAR_FIELD_BYTES;
    signature.set(bytes.slice(offset, offset + SCALAR_BYTES).reverse(), index * SCALAR_BYTES);
  }
  return signature;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
