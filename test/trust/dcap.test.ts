import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { MeasuredFacts, Refusal } from '../../src/trust/evidence/evidence.ts';
import { DcapVerifier } from '../../src/trust/evidence/dcap.ts';
import { DAY_MS, NOW_MS, QUOTE_SHAPES } from './dcap-plan.ts';
import type { DcapChanges, QuoteShape } from './dcap-plan.ts';
import { makeDcapWorld } from './dcap-world.ts';

function factsOf(shape: QuoteShape, changes: DcapChanges = {}): MeasuredFacts {
  const verification = makeDcapWorld(shape, changes).verify();
  assert(verification.ok, JSON.stringify(verification));
  return verification.facts;
}

function refusalOf(shape: QuoteShape, changes: DcapChanges): Refusal {
  const verification = makeDcapWorld(shape, changes).verify();
  assert(!verification.ok, 'it was accepted');
  return verification;
}

test('an SGX quote becomes facts', () => {
  const { shown, tcb, ...facts } = factsOf('sgx 3');
  assert.deepEqual(facts, {
    kind: 'sgx',
    measurement: 'ee'.repeat(32),
    signers: ['5e'.repeat(32)],
    registers: {
      isvProdId: '7',
      isvExtProdId: '1e'.repeat(16),
      isvFamilyId: '1f'.repeat(16),
      configId: '1c'.repeat(64),
      attributes: '0500000000000000e700000000000000',
      miscSelect: '00000000',
    },
    reportData: new Uint8Array(64).fill(0xda),
    tcbStatus: 'UpToDate',
    advisoryIds: [],
    debug: false,
    migrationAgent: false,
    platformId: 'a1'.repeat(16),
    vmpl: undefined,
    revocationChecked: true,
    validFromMs: NOW_MS - 3 * DAY_MS,
    validUntilMs: NOW_MS + 25 * DAY_MS,
  });
  // Of the PCK certificate, not of the report: its CPUSVN is what the platform booted with.
  assert.deepEqual([tcb['cpuSvn0'], tcb['cpuSvn7'], tcb['pceSvn'], tcb['isvSvn']], [5, 5, 300, 9]);
  assert.equal(tcb['tcbEvaluationDataNumber'], 16, 'the lower of both statements');
  assert(shown.some(({ label, value }) => label === 'FMSPC' && value === '00906ed50000'));
});

test('a TDX quote of each version becomes facts', () => {
  for (const shape of QUOTE_SHAPES.filter((shape) => shape !== 'sgx 3')) {
    const { tcb, ...facts } = factsOf(shape);
    assert.equal(facts.kind, 'tdx');
    assert.equal(facts.measurement, 'd0'.repeat(48));
    assert.deepEqual(facts.registers, {
      rtmr0: '70'.repeat(48),
      rtmr1: '71'.repeat(48),
      rtmr2: '72'.repeat(48),
      rtmr3: '73'.repeat(48),
      mrConfigId: 'c0'.repeat(48),
      mrOwner: 'c1'.repeat(48),
      mrOwnerConfig: 'c2'.repeat(48),
      mrSeam: '5a'.repeat(48),
      tdAttributes: '0000001000000000',
      xfam: 'e702060000000000',
    });
    assert.deepEqual(facts.reportData, new Uint8Array(64).fill(0xda));
    assert.deepEqual([tcb['teeTcbSvn0'], tcb['teeTcbSvn1'], tcb['teeTcbSvn2']], [6, 1, 3]);
    assert.equal(facts.tcbStatus, 'UpToDate');
  }
});

test('zeros may follow a quote, as TDX pads it', () => {
  factsOf('tdx 4', { quote: (quote) => Buffer.concat([quote, Buffer.alloc(70)]) });
});

test('the chain stored with the collateral is accepted where it is the quote’s own', () => {
  const world = makeDcapWorld('sgx 3');
  const pem = world.quote.subarray(-1000).toString('latin1');
  assert(pem.endsWith('-----END CERTIFICATE-----\n\0'));
  const begin = world.quote.indexOf('-----BEGIN');
  const chain = world.quote.subarray(begin, -1).toString('latin1');
  assert(world.verify({ collateral: { ...world.collateral, pck_certificate_chain: chain } }).ok);
  assert(world.verify({ collateral: { ...world.collateral, pck_certificate_chain: null } }).ok);
  const other = makeDcapWorld('sgx 3');
  const crossed = { ...other.collateral, pck_certificate_chain: chain };
  assert.equal((other.verify({ collateral: crossed }) as Refusal).rule, 'collateral');
});

const STATUSES: readonly (readonly [string, QuoteShape, DcapChanges, string, readonly string[]])[] = [
  ['an old platform', 'sgx 3', { platform: { cpuSvn: svns(4) } }, 'OutOfDate', ['INTEL-SA-00001']],
  ['a misconfigured one', 'sgx 3', { platform: { cpuSvn: svns(3) } }, 'ConfigurationNeeded', ['INTEL-SA-00002']],
  ['an old quoting enclave', 'sgx 3', { qeReport: isvSvn(5) }, 'OutOfDate', ['INTEL-SA-00004']],
  ['an old module', 'tdx 4', { report: module(5, 1) }, 'OutOfDate', ['INTEL-SA-00003']],
  [
    'an old module on a misconfigured platform',
    'tdx 4',
    { report: module(5, 1), platform: { cpuSvn: svns(3) } },
    'OutOfDateConfigurationNeeded',
    ['INTEL-SA-00002', 'INTEL-SA-00003'],
  ],
  ['a module of TDX 1.0', 'tdx 4', { report: module(5, 0) }, 'UpToDate', []],
];

function svns(first: number): Buffer {
  return Buffer.from([first, 5, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
}

function isvSvn(value: number): (report: Buffer) => void {
  return (report) => report.writeUInt16LE(value, 258);
}

function module(isvSvn: number, version: number): (report: Buffer) => void {
  return (report) => report.set([isvSvn, version], 0);
}

test('facts carry the status and the advisories', () => {
  for (const [name, shape, changes, status, advisoryIds] of STATUSES) {
    const facts = factsOf(shape, changes);
    assert.deepEqual([facts.tcbStatus, facts.advisoryIds], [status, advisoryIds], name);
  }
});

test('another kind of evidence than the verifier’s is refused', () => {
  const { quote, collateral } = makeDcapWorld('sgx 3');
  const context = { nowMs: NOW_MS, collateral: Buffer.from(JSON.stringify(collateral)) };
  const sgx = new DcapVerifier('sgx');
  const tdx = new DcapVerifier('tdx');
  const rules = [
    tdx.verify({ kind: 'tdx', report: quote, certificates: [] }, context),
    tdx.verify({ kind: 'sgx', report: quote, certificates: [] }, context),
    sgx.verify({ kind: 'tdx', report: quote, certificates: [] }, context),
    sgx.verify({ kind: 'sgx', report: quote, certificates: [{ name: 'ark', bytes: quote }] }, context),
  ].map((verification) => (verification.ok ? 'accepted' : verification.rule));
  assert.deepEqual(rules, ['malformed', 'malformed', 'malformed', 'malformed']);
  const without = sgx.verify({ kind: 'sgx', report: quote, certificates: [] }, { nowMs: NOW_MS }) as Refusal;
  assert.deepEqual([without.rule, without.seen], ['collateral', 'none']);
});

test('Intel’s root is the one that is pinned by default', () => {
  const { quote, collateral } = makeDcapWorld('sgx 3');
  const context = { nowMs: NOW_MS, collateral: Buffer.from(JSON.stringify(collateral)) };
  const refusal = new DcapVerifier('sgx').verify({ kind: 'sgx', report: quote, certificates: [] }, context) as Refusal;
  assert.equal(refusal.rule, 'root');
  assert.match(refusal.allowed, /44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3/);
});

test('each validity ends what it is about', () => {
  const world = makeDcapWorld('tdx 4');
  const at = (days: number) => {
    const verification = world.verify({ nowMs: NOW_MS + days * DAY_MS });
    return verification.ok ? 'accepted' : `${verification.rule}: ${verification.allowed}`;
  };
  assert.equal(at(-3), 'accepted');
  assert.equal(at(25), 'accepted');
  assert.match(at(-4), /^not-yet-valid: TCB info from 2030-06-12T12:00:00Z/);
  assert.match(at(-6), /^not-yet-valid: Intel SGX .* CA's revocation list from 2030-06-10T12:00:00Z/);
  assert.match(at(26), /^expired: Intel SGX .* CA's revocation list until 2030-07-10T12:00:00Z/);
  assert.match(at(2000), /^expired: Intel SGX PCK Certificate until/);
  assert.match(at(-2000), /^not-yet-valid: Intel SGX PCK Certificate from/);
  assert.match(at(Number.NaN), /^expired/);
});

test('a refusal says what is allowed and what was seen', () => {
  const { allowed, seen } = refusalOf('sgx 3', { tcbInfo: (info) => (info.fmspc = '00906ED50001') });
  assert.deepEqual([allowed, seen], ['TCB info of FMSPC 00906ed50000', '00906ed50001']);
  const otherKey = refusalOf('sgx 3', { header: (header) => header.writeUInt16LE(3, 2) });
  assert.deepEqual([otherKey.allowed, otherKey.seen], ['an attestation key of type 2 (ECDSA P-256)', 'type 3']);
  const otherReport = refusalOf('tdx 5, 1.0', {
    quote: (quote) => {
      quote.writeUInt16LE(1, 48);
      return quote;
    },
  });
  assert.deepEqual([otherReport.allowed, otherReport.seen], ['a report of TDX 1.0 or 1.5', 'type 1 of 584 bytes']);
});

test('it does not run where the library would not use node:crypto', () => {
  const { href } = new URL('../../src/trust/evidence/dcap.js', import.meta.url);
  const start = (before: string) =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', `${before} await import(${JSON.stringify(href)})`]);
  assert.equal(start('').status, 0);
  const { status, stderr } = start('globalThis.window = {};');
  assert.notEqual(status, 0);
  assert.match(stderr.toString(), /verifies with node:crypto/);
});
