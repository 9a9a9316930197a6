import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DcapVerifier } from '../../src/trust/evidence/dcap.ts';
import type { Verification } from '../../src/trust/evidence/evidence.ts';
import { Policy } from '../../src/trust/evidence/policy.ts';
import { changeEachByte } from './each-byte.ts';
import { NO_REAL_EVIDENCE, readReal, REAL_EVIDENCE_MS } from './real-evidence.ts';

/** An SGX quote of version 3 and a TDX quote of version 4 with what Intel published on their platforms, against Intel's root. */
const REAL = { skip: NO_REAL_EVIDENCE };
const KINDS = ['sgx', 'tdx'] as const;
type Kind = (typeof KINDS)[number];

interface Attempt {
  readonly nowMs?: number;
  readonly quote?: Uint8Array;
  readonly collateral?: Uint8Array;
  /** Fields of the collateral that are other than in the sample. */
  readonly changed?: Readonly<Record<string, string>>;
}

function verify(kind: Kind, { nowMs = REAL_EVIDENCE_MS, quote, collateral, changed }: Attempt = {}): Verification {
  const stored = collateral ?? readReal(`${kind}/collateral.json`);
  const given =
    changed === undefined ? stored : Buffer.from(JSON.stringify({ ...parseCollateral(stored), ...changed }));
  return new DcapVerifier(kind).verify(
    { kind, report: quote ?? readReal(`${kind}/quote.bin`), certificates: [] },
    { nowMs, collateral: given },
  );
}

function parseCollateral(bytes: Uint8Array): Record<string, string> {
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, string>;
}

/** Each kind's answer: its rule, or "accepted". */
function rules(attempt: (kind: Kind) => Attempt): string[] {
  return KINDS.map((kind) => {
    const verification = verify(kind, attempt(kind));
    return verification.ok ? 'accepted' : verification.rule;
  });
}

test("the real SGX quote verifies up to Intel's root", REAL, () => {
  const verification = verify('sgx');
  assert(verification.ok, JSON.stringify(verification));
  const { facts } = verification;
  assert.equal(facts.measurement, '33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb');
  assert.deepEqual(facts.signers, ['815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6']);
  assert.equal(Buffer.from(facts.reportData).toString().replaceAll('\0', ''), 'Hello, world!');
  assert.deepEqual(
    [facts.tcbStatus, facts.advisoryIds],
    ['ConfigurationAndSWHardeningNeeded', ['INTEL-SA-00289', 'INTEL-SA-00615']],
  );
  assert.deepEqual([facts.tcb['pceSvn'], facts.tcb['tcbEvaluationDataNumber'], facts.debug], [13, 17, false]);
  assert.equal(facts.platformId, 'd04ec06d4e6d92dc90d0ad3cf5ee2ddf');
  assert.equal(facts.revocationChecked, true);
  assert.equal(new Date(facts.validFromMs).toISOString(), '2025-06-19T10:56:11.000Z');
  assert.equal(new Date(facts.validUntilMs).toISOString(), '2025-07-19T10:01:18.000Z');
});

test("the real TDX quote verifies up to Intel's root", REAL, () => {
  const verification = verify('tdx');
  assert(verification.ok, JSON.stringify(verification));
  const { facts } = verification;
  assert.match(facts.measurement, /^91eb2b44d141d4ec[0-9a-f]{80}$/);
  assert.match(facts.registers['rtmr1']!, /^0084452c01668329[0-9a-f]{80}$/);
  assert.deepEqual([facts.tcbStatus, facts.advisoryIds], ['UpToDate', []]);
  assert.deepEqual([facts.tcb['teeTcbSvn0'], facts.tcb['teeTcbSvn1']], [6, 1]);
  assert.equal(facts.platformId, '811dca2a26b952e85bb6448b097ba4fd');
});

test('a policy refuses a status that it does not list, UpToDate alone by default', REAL, () => {
  const verification = verify('sgx');
  assert(verification.ok);
  const { facts } = verification;
  const judge = (entry: object): string | undefined => {
    const measured = { kind: 'sgx', measurements: [facts.measurement], ...entry };
    const policy = { format: 'avocado-policy', version: 1, roles: { replica: [measured] } };
    return Policy.parse(JSON.stringify(policy)).judge(facts, { role: 'replica' })?.rule;
  };
  assert.equal(judge({}), 'tcb-status');
  assert.equal(judge({ tcbStatus: ['UpToDate', 'ConfigurationAndSWHardeningNeeded'] }), undefined);
});

test('it is refused before its collateral was issued and after it expired', REAL, () => {
  const at = (time: string) => rules(() => ({ nowMs: Date.parse(time) }));
  assert.deepEqual(at('2025-06-19T11:00:00Z'), ['accepted', 'accepted']);
  assert.deepEqual(at('2025-07-19T10:00:00Z'), ['accepted', 'accepted']);
  assert.deepEqual(at('2025-06-19T10:00:00Z'), ['not-yet-valid', 'not-yet-valid']);
  assert.deepEqual(at('2025-07-19T11:00:00Z'), ['expired', 'expired']);
  assert.deepEqual(at('2018-01-01T00:00:00Z'), ['not-yet-valid', 'not-yet-valid']);
  assert.deepEqual(at('2050-01-01T00:00:00Z'), ['expired', 'expired']);
});

for (const kind of KINDS) {
  test(`the real quote is refused with any byte changed: ${kind}`, REAL, () => {
    const byRule = new Map<string, number>();
    const collateral = readReal(`${kind}/collateral.json`);
    changeEachByte(readReal(`${kind}/quote.bin`), (quote, offset) => {
      const verification = verify(kind, { quote, collateral });
      assert(!verification.ok, `byte ${offset} was changed and the quote accepted`);
      byRule.set(verification.rule, (byRule.get(verification.rule) ?? 0) + 1);
    });
    // Changed bytes break forms, signatures and chains; none of them gets as far as to be judged for what it says.
    const expected = ['chain', 'malformed', 'root', 'signature'];
    assert(
      [...byRule.keys()].every((rule) => expected.includes(rule)),
      JSON.stringify([...byRule]),
    );
  });
}

test('it is refused with the collateral of another platform', REAL, () => {
  const other = (kind: Kind): Kind => (kind === 'sgx' ? 'tdx' : 'sgx');
  const from = (kind: Kind) => parseCollateral(readReal(`${other(kind)}/collateral.json`));
  const crossed = (...fields: readonly string[]) =>
    rules((kind) => ({ changed: Object.fromEntries(fields.map((field) => [field, from(kind)[field]!])) }));
  assert.deepEqual(
    rules((kind) => ({ collateral: readReal(`${other(kind)}/collateral.json`) })),
    ['collateral', 'collateral'],
  );
  assert.deepEqual(crossed('tcb_info', 'tcb_info_signature'), ['collateral', 'collateral']);
  assert.deepEqual(crossed('qe_identity', 'qe_identity_signature'), ['collateral', 'collateral']);
  assert.deepEqual(crossed('pck_crl'), ['revocation-list', 'revocation-list']);
  assert.deepEqual(crossed('pck_crl', 'pck_crl_issuer_chain'), ['collateral', 'collateral']);
  assert.deepEqual(crossed('tcb_info_signature'), ['signature', 'signature']);
  assert.deepEqual(crossed('qe_identity_signature'), ['signature', 'signature']);
});

test('it is refused with revocation lists emptied, garbled, changed, unsigned', REAL, () => {
  for (const field of ['root_ca_crl', 'pck_crl']) {
    const changed = (change: (list: Buffer) => Buffer) =>
      rules((kind) => {
        const list = Buffer.from(parseCollateral(readReal(`${kind}/collateral.json`))[field]!, 'hex');
        return { changed: { [field]: change(list).toString('hex') } };
      });
    const refused = ['revocation-list', 'revocation-list'];
    assert.deepEqual(
      changed(() => Buffer.alloc(0)),
      refused,
      `${field} emptied`,
    );
    assert.deepEqual(
      changed((list) => Buffer.alloc(list.length, 0x5a)),
      refused,
      `${field} garbled`,
    );
    assert.deepEqual(
      changed((list) => list.subarray(0, -4)),
      refused,
      `${field} cut`,
    );
    const flipped = (offset: number) =>
      changed((list) => {
        list[offset < 0 ? list.length + offset : offset]! ^= 1;
        return list;
      });
    assert.deepEqual(flipped(-1), refused, `the signature of ${field} flipped`);
    assert.deepEqual(flipped(30), refused, `the issuer of ${field} changed`);
  }
});
