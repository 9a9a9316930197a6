import { z } from 'zod';
import { EVIDENCE_KINDS, refuse } from './evidence.ts';
import type { MeasuredFacts, Refusal, RefusalRule } from './evidence.ts';
import { hexOf } from '../hex.ts';
import { ROLES } from './roles.ts';
import type { Role } from './roles.ts';
import { hexOfBytes, parseStrictJson } from './strict-json.ts';

/**
 * Who may take part, as a file: for each role a list of what is accepted, an entry a kind of platform and build. What no
 * entry accepts is refused; there are no defaults that accept. docs/trust.md has an example of each kind.
 */
const FORMAT = 'avocado-policy';
const VERSION = 1;
export const POLICY_CHARS_MAX = 1024 * 1024;
/** Of entries, values and names in one list. */
const ITEMS_MAX = 1_024;

const LIST_WITHOUT_VALUES = 'must name at least one value, or be left out';
const hexList = (byteCount: number) => z.array(hexOfBytes(byteCount)).min(1, LIST_WITHOUT_VALUES).max(ITEMS_MAX);
const names = (least: string) => z.array(z.string().min(1).max(256)).min(1, least).max(ITEMS_MAX);
const permission = z.enum(['forbidden', 'allowed']).default('forbidden');
const registers = z.record(z.string().min(1).max(64), names(LIST_WITHOUT_VALUES)).default({});

/** SHA-384, as SNP, TDX and `avocado measure` have it; SGX measures with SHA-256. */
const LONG_BYTES = 48;
const SHORT_BYTES = 32;

const common = {
  registers,
  minTcb: z.record(z.string().min(1).max(64), z.int().min(0).max(0xffff_ffff)).default({}),
  debug: permission,
  platforms: names(LIST_WITHOUT_VALUES).optional(),
};

/** How a vendor's revocation lists are treated: without a valid one evidence is refused, unless that is allowed here. */
const revocation = z.enum(['required', 'optional']).default('required');
/** What Intel says of the TCB; only what is listed is accepted. */
const tcbStatus = names(LIST_WITHOUT_VALUES).default(['UpToDate']);

const SIMULATED = z.strictObject({ kind: z.literal('simulated'), measurements: hexList(LONG_BYTES), ...common });

const SEV_SNP = z
  .strictObject({
    kind: z.literal('sev-snp'),
    measurements: hexList(LONG_BYTES).optional(),
    signers: hexList(LONG_BYTES).optional(),
    ...common,
    migrationAgent: permission,
    vmplMax: z.int().min(0).max(3).default(0),
    revocation,
  })
  .refine(({ measurements, signers }) => measurements !== undefined || signers !== undefined, {
    message: 'must have measurements or signers: without either, any code is accepted',
  });

const TDX = z
  .strictObject({
    kind: z.literal('tdx'),
    measurements: hexList(LONG_BYTES),
    ...common,
    migrationAgent: permission,
    revocation,
    tcbStatus,
  })
  .refine(({ registers: given }) => given['rtmr1'] !== undefined && given['rtmr2'] !== undefined, {
    message:
      'must have registers rtmr1 and rtmr2: the measurement is of the firmware, they are of kernel and command line',
    path: ['registers'],
  });

const SGX = z
  .strictObject({
    kind: z.literal('sgx'),
    measurements: hexList(SHORT_BYTES).optional(),
    signers: hexList(SHORT_BYTES).optional(),
    ...common,
    revocation,
    tcbStatus,
  })
  .refine(({ measurements, signers }) => measurements !== undefined || signers !== undefined, {
    message: 'must have measurements or signers: without either, any code is accepted',
  })
  .refine((entry) => entry.measurements !== undefined || entry.registers['isvProdId'] !== undefined, {
    message: 'must have register isvProdId: a signer without it stands for all that it ever signed',
    path: ['registers'],
  });

const SCHEMA = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  roles: z.partialRecord(
    z.enum(ROLES),
    z.array(z.discriminatedUnion('kind', [SIMULATED, SEV_SNP, TDX, SGX])).max(ITEMS_MAX),
  ),
});

type PolicyContent = z.output<typeof SCHEMA>;
type Entry = NonNullable<PolicyContent['roles'][Role]>[number];

/** JSON Schema (2020-12) of a policy file, for editors. */
export function policySchema(): object {
  return z.toJSONSchema(SCHEMA, { io: 'input' });
}

/** What a judgement needs beside the facts. */
export interface PolicyQuestion {
  readonly role: Role;
  /** 64 bytes that the evidence must bind; left out, any are accepted, and then it proves nothing about who sent it. */
  readonly reportData?: Uint8Array;
}

export class Policy {
  readonly #roles: PolicyContent['roles'];

  private constructor(content: PolicyContent) {
    this.#roles = content.roles;
  }

  /**
   * @param what Begins the error's line.
   * @throws AvocadoError EVIDENCE_FILES, naming the place.
   */
  static parse(text: string, what = 'the policy'): Policy {
    return new Policy(parseStrictJson(text, SCHEMA, what, POLICY_CHARS_MAX));
  }

  /** Of `avocado dev`: one build on simulated platforms, in every role. */
  static ofSimulated(measurement: string): Policy {
    const entries = [{ kind: 'simulated' as const, measurements: [measurement] }];
    const roles = Object.fromEntries(ROLES.map((role) => [role, entries]));
    return new Policy(SCHEMA.parse({ format: FORMAT, version: VERSION, roles }));
  }

  /** Undefined when accepted. Of several entries, the refusal of the one that accepts most speaks. */
  judge(facts: MeasuredFacts, { role, reportData }: PolicyQuestion): Refusal | undefined {
    if (reportData !== undefined && Buffer.compare(reportData, facts.reportData) !== 0) {
      return refuse('report-data', hexOf(reportData), hexOf(facts.reportData));
    }
    const entries = this.#roles[role] ?? [];
    if (entries.length === 0) {
      const named = ROLES.filter((name) => (this.#roles[name]?.length ?? 0) > 0);
      return refuse('role', `roles with entries: ${named.join(', ') || 'none'}`, role);
    }
    const ofKind = entries.filter(({ kind }) => kind === facts.kind);
    let nearest: { passedCount: number; refusal: Refusal } | undefined;
    for (const entry of ofKind) {
      const outcome = judgeEntry(entry, facts);
      if (outcome.refusal === undefined) return undefined;
      if (nearest === undefined || outcome.passedCount > nearest.passedCount) nearest = outcome;
    }
    if (nearest !== undefined) return nearest.refusal;
    const kinds = EVIDENCE_KINDS.filter((kind) => entries.some((entry) => entry.kind === kind));
    return refuse('kind', kinds.join(', '), facts.kind);
  }
}

type Outcome = { readonly refusal: undefined } | { readonly passedCount: number; readonly refusal: Refusal };

/** Rules in the order in which their refusals help most. */
function judgeEntry(entry: Entry, facts: MeasuredFacts): Outcome {
  let passedCount = 0;
  for (const refusal of refusalsOf(entry, facts)) {
    if (refusal !== undefined) return { passedCount, refusal };
    passedCount++;
  }
  return { refusal: undefined };
}

function* refusalsOf(entry: Entry, facts: MeasuredFacts): Generator<Refusal | undefined> {
  if (entry.measurements !== undefined) yield oneOf('measurement', entry.measurements, facts.measurement);
  if ('signers' in entry && entry.signers !== undefined) {
    const { signers } = entry;
    const isSigned = facts.signers.some((signer) => signers.includes(signer));
    yield isSigned ? undefined : refuse('signer', signers.join(', '), facts.signers.join(', ') || 'none');
  }
  for (const [name, allowed] of Object.entries(entry.registers)) {
    yield oneOf('register', allowed, own(facts.registers, name), `${name} `);
  }
  if (entry.debug === 'forbidden') yield facts.debug ? refuse('debug', 'no debugging', 'debugging allowed') : undefined;
  if ('migrationAgent' in entry && entry.migrationAgent === 'forbidden') {
    yield facts.migrationAgent ? refuse('migration-agent', 'no migration agent', 'one allowed') : undefined;
  }
  if ('vmplMax' in entry) {
    const isLow = facts.vmpl !== undefined && facts.vmpl <= entry.vmplMax;
    yield isLow ? undefined : refuse('vmpl', `VMPL ${entry.vmplMax} at most`, String(facts.vmpl ?? 'none'));
  }
  for (const [name, least] of Object.entries(entry.minTcb)) {
    const seen = own(facts.tcb, name);
    const isEnough = seen !== undefined && seen >= least;
    yield isEnough ? undefined : refuse('tcb', `${name} ${least} at least`, `${name} ${seen ?? 'unknown'}`);
  }
  if ('tcbStatus' in entry) yield oneOf('tcb-status', entry.tcbStatus, facts.tcbStatus);
  if ('revocation' in entry && entry.revocation === 'required') {
    const seen = "no list: give the vendor's as collateral";
    yield facts.revocationChecked ? undefined : refuse('revocation-list', 'a revocation list', seen);
  }
  if (entry.platforms !== undefined) yield oneOf('platform', entry.platforms, facts.platformId);
}

/** @param prefix Names what is compared, where the rule doesn't. */
function oneOf(
  rule: RefusalRule,
  allowed: readonly string[],
  seen: string | undefined,
  prefix = '',
): Refusal | undefined {
  if (seen !== undefined && allowed.includes(seen)) return undefined;
  return refuse(rule, `${prefix}${allowed.join(', ')}`, `${prefix}${seen ?? 'none'}`);
}

/** A policy's names are the operator's: "constructor" is none of a record's. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
