import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { MeasuredFacts, Refusal } from '../../src/trust/evidence/evidence.ts';
import { Policy, policySchema } from '../../src/trust/evidence/policy.ts';
import { ROLES } from '../../src/trust/evidence/roles.ts';

const A = 'aa'.repeat(48);
const B = 'bb'.repeat(48);
const SHORT = 'cc'.repeat(32);

const SNP: MeasuredFacts = {
  kind: 'sev-snp',
  measurement: A,
  signers: [B],
  registers: { hostData: '00', smt: 'allowed' },
  reportData: new Uint8Array(64).fill(1),
  tcb: { microcode: 211, snp: 22 },
  tcbStatus: undefined,
  advisoryIds: [],
  debug: false,
  migrationAgent: false,
  platformId: 'chip',
  vmpl: 0,
  revocationChecked: true,
  validFromMs: 0,
  validUntilMs: 1,
  shown: [],
};
const SIMULATED: MeasuredFacts = { ...SNP, kind: 'simulated', signers: [], vmpl: undefined, revocationChecked: false };
const TDX: MeasuredFacts = {
  ...SNP,
  kind: 'tdx',
  signers: [],
  registers: { rtmr1: A, rtmr2: B },
  tcbStatus: 'UpToDate',
  vmpl: undefined,
};
const SGX: MeasuredFacts = { ...TDX, kind: 'sgx', measurement: SHORT, signers: [SHORT], registers: { isvProdId: '1' } };

function policyOf(...entries: object[]): Policy {
  return Policy.parse(JSON.stringify({ format: 'avocado-policy', version: 1, roles: { replica: entries } }));
}

function judge(entry: object, facts: MeasuredFacts): Refusal | undefined {
  return policyOf(entry).judge(facts, { role: 'replica' });
}

function refused(rule: string, allowed: string, seen: string, entry: object, facts: MeasuredFacts): void {
  assert.deepEqual(judge(entry, facts), { ok: false, rule, allowed, seen });
}

const ACCEPTING = { kind: 'sev-snp', measurements: [A] };

test('what an entry names is accepted, and nothing else is', () => {
  assert.equal(judge(ACCEPTING, SNP), undefined);
  refused('measurement', A, B, ACCEPTING, { ...SNP, measurement: B });
  refused('kind', 'sev-snp', 'tdx', ACCEPTING, TDX);
  const empty = Policy.parse('{ "format": "avocado-policy", "version": 1, "roles": {} }');
  for (const facts of [SNP, SIMULATED, TDX, SGX]) {
    for (const role of ROLES) assert.equal(empty.judge(facts, { role })?.rule, 'role');
  }
  assert.deepEqual(policyOf(ACCEPTING).judge(SNP, { role: 'client' }), {
    ok: false,
    rule: 'role',
    allowed: 'roles with entries: replica',
    seen: 'client',
  });
});

test('debugging, a migration agent, a lower VMPL and no revocation list are refused unless they are allowed', () => {
  refused('debug', 'no debugging', 'debugging allowed', ACCEPTING, { ...SNP, debug: true });
  refused('migration-agent', 'no migration agent', 'one allowed', ACCEPTING, { ...SNP, migrationAgent: true });
  refused('vmpl', 'VMPL 0 at most', '1', ACCEPTING, { ...SNP, vmpl: 1 });
  refused('vmpl', 'VMPL 0 at most', 'none', ACCEPTING, { ...SNP, vmpl: undefined });
  const seen = "no list: give the vendor's as collateral";
  refused('revocation-list', 'a revocation list', seen, ACCEPTING, { ...SNP, revocationChecked: false });
  const lax = { ...ACCEPTING, debug: 'allowed', migrationAgent: 'allowed', vmplMax: 1, revocation: 'optional' };
  assert.equal(judge(lax, { ...SNP, debug: true, migrationAgent: true, vmpl: 1, revocationChecked: false }), undefined);
});

test('signers, registers, TCB and chips', () => {
  const signed = { kind: 'sev-snp', signers: [B] };
  assert.equal(judge(signed, SNP), undefined);
  refused('signer', B, A, signed, { ...SNP, signers: [A] });
  refused('signer', B, 'none', signed, { ...SNP, signers: [] });
  refused('register', 'smt forbidden', 'smt allowed', { ...ACCEPTING, registers: { smt: ['forbidden'] } }, SNP);
  refused('register', 'other 1', 'other none', { ...ACCEPTING, registers: { other: ['1'] } }, SNP);
  refused('register', 'constructor 1', 'constructor none', { ...ACCEPTING, registers: { constructor: ['1'] } }, SNP);
  assert.equal(judge({ ...ACCEPTING, minTcb: { microcode: 211, snp: 22 } }, SNP), undefined);
  refused('tcb', 'microcode 212 at least', 'microcode 211', { ...ACCEPTING, minTcb: { microcode: 212 } }, SNP);
  refused('tcb', 'fmc 0 at least', 'fmc unknown', { ...ACCEPTING, minTcb: { fmc: 0 } }, SNP);
  assert.equal(judge({ ...ACCEPTING, platforms: ['other', 'chip'] }, SNP), undefined);
  refused('platform', 'other', 'chip', { ...ACCEPTING, platforms: ['other'] }, SNP);
  refused('platform', 'other', 'none', { ...ACCEPTING, platforms: ['other'] }, { ...SNP, platformId: undefined });
});

test("Intel's status of the TCB: up to date, or what is listed", () => {
  const tdx = { kind: 'tdx', measurements: [A], registers: { rtmr1: [A], rtmr2: [B] } };
  assert.equal(judge(tdx, TDX), undefined);
  refused('tcb-status', 'UpToDate', 'OutOfDate', tdx, { ...TDX, tcbStatus: 'OutOfDate' });
  refused('tcb-status', 'UpToDate', 'none', tdx, { ...TDX, tcbStatus: undefined });
  const tolerant = { ...tdx, tcbStatus: ['UpToDate', 'SWHardeningNeeded'] };
  assert.equal(judge(tolerant, { ...TDX, tcbStatus: 'SWHardeningNeeded' }), undefined);
  refused('register', `rtmr2 ${B}`, `rtmr2 ${A}`, tdx, { ...TDX, registers: { rtmr1: A, rtmr2: A } });
  const sgx = { kind: 'sgx', signers: [SHORT], registers: { isvProdId: ['1'] } };
  assert.equal(judge(sgx, SGX), undefined);
  refused('register', 'isvProdId 1', 'isvProdId 2', sgx, { ...SGX, registers: { isvProdId: '2' } });
});

test('of several entries one must accept; else the nearest one says why not', () => {
  const policy = policyOf({ ...ACCEPTING, measurements: [B] }, { ...ACCEPTING, minTcb: { microcode: 250 } });
  assert.equal(policy.judge(SNP, { role: 'replica' })?.rule, 'tcb');
  assert.equal(policy.judge({ ...SNP, measurement: B }, { role: 'replica' }), undefined);
});

test('evidence over other data than was asked for is refused', () => {
  const policy = policyOf(ACCEPTING);
  assert.equal(policy.judge(SNP, { role: 'replica', reportData: new Uint8Array(64).fill(1) }), undefined);
  const refusal = policy.judge(SNP, { role: 'replica', reportData: new Uint8Array(64) });
  assert.deepEqual(refusal, { ok: false, rule: 'report-data', allowed: '00'.repeat(64), seen: '01'.repeat(64) });
});

test('the policy of development accepts one build on simulated platforms, in each role', () => {
  const policy = Policy.ofSimulated(A);
  for (const role of ROLES) {
    assert.equal(policy.judge(SIMULATED, { role }), undefined);
    assert.equal(policy.judge({ ...SIMULATED, measurement: B }, { role })?.rule, 'measurement');
    assert.equal(policy.judge({ ...SIMULATED, debug: true }, { role })?.rule, 'debug');
    assert.equal(policy.judge(SNP, { role })?.rule, 'kind');
  }
});

test('a policy that is wrong, or would accept any code, is refused with the place', () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ kind: 'sev-snp' }, /roles\.replica\[0\]: must have measurements or signers/],
    [{ kind: 'sgx' }, /must have measurements or signers/],
    [{ kind: 'sgx', signers: [SHORT] }, /registers: must have register isvProdId/],
    [{ kind: 'simulated' }, /measurements/],
    [{ kind: 'tdx', measurements: [A] }, /registers: must have registers rtmr1 and rtmr2/],
    [{ kind: 'sev-snp', measurements: [] }, /must name at least one value/],
    [{ kind: 'sev-snp', measurements: [SHORT] }, /roles\.replica\[0\]\.measurements\[0\]: must be 48 bytes/],
    [{ kind: 'sgx', measurements: [A] }, /must be 32 bytes/],
    [{ kind: 'sev-snp', measurements: [A.toUpperCase()] }, /lower-case/],
    [{ ...ACCEPTING, debug: true }, /debug/],
    [{ ...ACCEPTING, vmplMax: 4 }, /vmplMax/],
    [{ ...ACCEPTING, minTcb: { snp: -1 } }, /minTcb\.snp/],
    [{ ...ACCEPTING, platforms: [] }, /platforms/],
    [{ ...ACCEPTING, measurement: A }, /"measurement"/],
    [{ kind: 'simulated', measurements: [A], vmplMax: 1 }, /"vmplMax"/],
    [{ kind: 'nitro', measurements: [A] }, /roles\.replica\[0\]\.kind/],
  ];
  for (const [entry, message] of cases) assert.throws(() => policyOf(entry), { code: 'EVIDENCE_FILES', message });
  assert.throws(() => Policy.parse('{}'), { message: /^the policy is wrong, format/ });
  assert.throws(() => Policy.parse('{', 'policy.json'), { message: /^policy\.json is not JSON/ });
  const unknownRole = { format: 'avocado-policy', version: 1, roles: { admin: [ACCEPTING] } };
  assert.throws(() => Policy.parse(JSON.stringify(unknownRole)), { message: /"admin"/ });
});

test('the schema is one of JSON Schema and names each kind', () => {
  const text = JSON.stringify(policySchema());
  for (const kind of ['simulated', 'sev-snp', 'tdx', 'sgx']) assert.ok(text.includes(`"const":"${kind}"`), kind);
  assert.match(text, /json-schema\.org\/draft\/2020-12/);
});

test('the example in the documentation is a policy', () => {
  const page = readFileSync(new URL('../../../docs/trust.md', import.meta.url), 'utf8');
  const examples = Array.from(page.matchAll(/^```json\n(.*?)^```$/gms), ([, text]) => text!);
  const [example] = examples.filter((text) => text.includes('avocado-policy'));
  assert.ok(example !== undefined);
  Policy.parse(example.replaceAll(/<(\d+) hex digits>/g, (_, count) => 'a'.repeat(Number(count))));
});
