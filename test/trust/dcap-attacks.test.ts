import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RefusalRule } from '../../src/trust/evidence/evidence.ts';
import { anyKey, chainPem, DAY_MS, NOW_MS } from './dcap-plan.ts';
import type { DcapChanges, Holders, PlatformLevelJson, QuoteShape, TcbInfoJson } from './dcap-plan.ts';
import { fingerprintOf, makeDcapWorld } from './dcap-world.ts';
import { SGX_EXTENSIONS } from './sgx-extensions.ts';
import { makeCertificate, makeEcKeys } from './x509-maker.ts';
import type { Holder } from './x509-maker.ts';

/**
 * Each attack changes one thing, before whoever should sign it signs it; so it is refused by the rule that it is
 * listed with, or by nothing.
 */
type Attack = readonly [name: string, shapes: readonly QuoteShape[], changes: DcapChanges, rule: RefusalRule];

const EACH: readonly QuoteShape[] = ['sgx 3', 'tdx 4'];
const TDX: readonly QuoteShape[] = ['tdx 4', 'tdx 5, 1.0', 'tdx 5, 1.5'];
const SGX: readonly QuoteShape[] = ['sgx 3'];
const past = { notBefore: new Date(NOW_MS - 3 * DAY_MS), notAfter: new Date(NOW_MS - DAY_MS) };
const future = { notBefore: new Date(NOW_MS + DAY_MS), notAfter: new Date(NOW_MS + 3 * DAY_MS) };

const CHAINS: readonly Attack[] = [
  ['a root of one’s own', EACH, { pinned: () => '00'.repeat(32) }, 'root'],
  ['the PCK CA taken for the root', EACH, { pinned: ({ pckCa }) => fingerprintOf(pckCa) }, 'root'],
  ['an expired root', EACH, { certificates: { root: past } }, 'expired'],
  ['an expired PCK CA', EACH, { certificates: { pckCa: past } }, 'expired'],
  ['an expired PCK certificate', EACH, { certificates: { pck: past } }, 'expired'],
  ['an expired TCB signing certificate', EACH, { certificates: { tcbSigning: past } }, 'expired'],
  ['a PCK certificate of tomorrow', EACH, { certificates: { pck: future } }, 'not-yet-valid'],
  ['a PCK CA that may not issue', EACH, { certificates: { pckCa: { isAuthority: false } } }, 'chain'],
  ['a PCK CA of another name', EACH, { certificates: { pckCa: { name: 'Intel SGX PCK Any CA' } } }, 'chain'],
  ['a PCK certificate of another name', EACH, { certificates: { pck: { name: 'Intel SGX TCB Signing' } } }, 'chain'],
  ['a PCK certificate that may issue', EACH, { certificates: { pck: { isAuthority: true } } }, 'chain'],
  ['no extensions of SGX', EACH, { certificates: { pck: { extensions: [] } } }, 'chain'],
  [
    'extensions that are no table',
    EACH,
    { certificates: { pck: { extensions: [{ oid: SGX_EXTENSIONS, value: Buffer.from([5, 0]) }] } } },
    'chain',
  ],
  [
    'an FMSPC of 5 bytes',
    EACH,
    { platform: { fmspc: Buffer.alloc(5) }, tcbInfo: (info) => (info.fmspc = '00'.repeat(6)) },
    'chain',
  ],
  [
    'statements signed by a certificate of another name',
    EACH,
    { certificates: { tcbSigning: { name: 'X' } } },
    'chain',
  ],
  ['statements signed by an authority', EACH, { certificates: { tcbSigning: { isAuthority: true } } }, 'chain'],
  [
    'statements signed with a PCK certificate',
    EACH,
    {
      signers: {},
      collateral: (collateral, { pck, pckCa, root }) => {
        collateral['tcb_info_issuer_chain'] = chainPem(pck, pckCa, root);
      },
    },
    'malformed',
  ],
  ['the quote’s chain out of order', EACH, chainOf(({ pckCa, pck, root }) => [pckCa, pck, root]), 'chain'],
  ['the quote’s chain without a CA', EACH, chainOf(({ pck, root }) => [pck, root]), 'malformed'],
  ['one more in the chain', EACH, chainOf(({ pck, pckCa, root }) => [pck, pckCa, root, root]), 'malformed'],
  ['a PCK certificate of one’s own, the same names', EACH, chainOf(withOwnPck), 'chain'],
  ['words before the chain', EACH, pemOf((pem) => `hello\n${pem}`), 'malformed'],
  ['words after the chain', EACH, pemOf((pem) => `${pem}hello`), 'malformed'],
  ['words between certificates', EACH, pemOf((pem) => pem.replace('END CERTIFICATE-----\n', '$&hello\n')), 'malformed'],
  ['two zeros after the chain', EACH, pemOf((pem) => `${pem}\0\0`), 'malformed'],
  ['carriage returns', EACH, pemOf((pem) => pem.replaceAll('\n', '\r\n')), 'malformed'],
  ['lines of 63 characters', EACH, pemOf((pem) => pem.replace(/(.{63})(.)\n/, '$1\n$2')), 'malformed'],
  ['a chain too long to read', EACH, pemOf((pem) => pem.repeat(8)), 'malformed'],
];

function pemOf(change: (pem: string) => string): DcapChanges {
  return { certification: { pem: ({ pck, pckCa, root }) => change(chainPem(pck, pckCa, root)) } };
}

function chainOf(choose: (holders: Holders) => readonly Holder[]): DcapChanges {
  return { certification: { pem: (holders) => chainPem(...choose(holders)) } };
}

function withOwnPck({ pckCa, root, pck }: Holders): readonly Holder[] {
  const own = makeCertificate({
    name: pck.name,
    issuer: { ...pckCa, privateKey: anyKey() },
    isAuthority: false,
    notBefore: new Date(NOW_MS - DAY_MS),
    notAfter: new Date(NOW_MS + DAY_MS),
    keys: makeEcKeys('P-256'),
    serial: pck.serial,
  });
  return [own, pckCa, root];
}

/** Of a list that says only what changed since another (RFC 5280, 5.2.4). */
const DELTA = '2.5.29.27';
const old = { thisUpdate: new Date(NOW_MS - 9 * DAY_MS), nextUpdate: new Date(NOW_MS - 1) };
const early = { thisUpdate: new Date(NOW_MS + 1000), nextUpdate: new Date(NOW_MS + DAY_MS) };

/** All but those of the revoked were accepted by the library alone. */
const LISTS: readonly Attack[] = [
  ['no root list', EACH, listAs('root_ca_crl', () => ''), 'revocation-list'],
  ['no PCK list', EACH, listAs('pck_crl', () => ''), 'revocation-list'],
  ['a garbled root list', EACH, listAs('root_ca_crl', () => 'ab'.repeat(300)), 'revocation-list'],
  ['a garbled PCK list', EACH, listAs('pck_crl', () => '3003020101'), 'revocation-list'],
  ['a cut PCK list', EACH, listAs('pck_crl', (hex) => hex.slice(0, -2)), 'revocation-list'],
  ['a byte after the PCK list', EACH, listAs('pck_crl', (hex) => `${hex}00`), 'revocation-list'],
  ['a root list whose signature is flipped', EACH, listAs('root_ca_crl', flipEnd), 'revocation-list'],
  ['a PCK list whose signature is flipped', EACH, listAs('pck_crl', flipEnd), 'revocation-list'],
  ['a root list signed by another', EACH, { rootList: ({ pckCa }) => ({ signer: pckCa }) }, 'revocation-list'],
  ['a PCK list signed by the PCK key', EACH, { pckList: ({ pck }) => ({ signer: pck }) }, 'revocation-list'],
  ['a root list of another issuer', EACH, { rootList: () => ({ issuerName: 'X' }) }, 'revocation-list'],
  ['a PCK list of another issuer', EACH, { pckList: () => ({ issuerName: 'X' }) }, 'revocation-list'],
  ['the root list twice', EACH, listFrom('pck_crl', 'root_ca_crl'), 'revocation-list'],
  ['the PCK list twice', EACH, listFrom('root_ca_crl', 'pck_crl'), 'revocation-list'],
  ['a root list that names only changes', EACH, { rootList: () => ({ criticalExtension: DELTA }) }, 'revocation-list'],
  ['a PCK list that names only changes', EACH, { pckList: () => ({ criticalExtension: DELTA }) }, 'revocation-list'],
  ['an expired root list', EACH, { rootList: () => old }, 'expired'],
  ['an expired PCK list', EACH, { pckList: () => old }, 'expired'],
  ['a root list of tomorrow', EACH, { rootList: () => early }, 'not-yet-valid'],
  ['a PCK list of tomorrow', EACH, { pckList: () => early }, 'not-yet-valid'],
  ['a revoked PCK CA', EACH, { rootList: ({ pckCa }) => ({ revokedSerials: [pckCa.serial] }) }, 'revoked'],
  [
    'a revoked TCB signer',
    EACH,
    { rootList: ({ tcbSigning }) => ({ revokedSerials: [tcbSigning.serial] }) },
    'revoked',
  ],
  ['a revoked root', EACH, { rootList: ({ root }) => ({ revokedSerials: [root.serial] }) }, 'revoked'],
  [
    'a revoked PCK certificate among others',
    EACH,
    { pckList: ({ pck }) => ({ revokedSerials: [9, pck.serial, 87] }) },
    'revoked',
  ],
];

function listAs(field: string, change: (hex: string) => string): DcapChanges {
  return { collateral: (collateral) => (collateral[field] = change(collateral[field]!)) };
}

function listFrom(to: string, from: string): DcapChanges {
  return { collateral: (collateral) => (collateral[to] = collateral[from]!) };
}

function flipEnd(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  bytes[bytes.length - 3]! ^= 1;
  return bytes.toString('hex');
}

const STATEMENTS: readonly Attack[] = [
  ['TCB info signed by another', EACH, { signers: { tcbInfo: anyKey() } }, 'signature'],
  ['an identity signed by another', EACH, { signers: { qeIdentity: anyKey() } }, 'signature'],
  ['a changed TCB info', EACH, textOf('tcb_info', '"tcbEvaluationDataNumber":17', '$&0'), 'signature'],
  ['a changed identity', EACH, textOf('qe_identity', '"tcbEvaluationDataNumber":16', '$&0'), 'signature'],
  ['TCB info of another FMSPC', EACH, { tcbInfo: (info) => (info.fmspc = '00906ED50001') }, 'collateral'],
  ['TCB info of another PCE', EACH, { tcbInfo: (info) => (info.pceId = '0001') }, 'collateral'],
  ['TCB info of another kind', SGX, { tcbInfo: (info) => (info.id = 'TDX') }, 'collateral'],
  ['TCB info of another kind', TDX, { tcbInfo: (info) => (info.id = 'SGX') }, 'collateral'],
  ['TCB info of version 2', EACH, { tcbInfo: (info) => (info.version = 2) }, 'collateral'],
  ['an identity of another kind', SGX, { qeIdentity: (identity) => (identity.id = 'TD_QE') }, 'collateral'],
  ['an identity of another kind', TDX, { qeIdentity: (identity) => (identity.id = 'QE') }, 'collateral'],
  ['expired TCB info', EACH, { tcbInfo: (info) => (info.nextUpdate = '2030-06-15T11:59:59Z') }, 'expired'],
  ['TCB info of tomorrow', EACH, { tcbInfo: (info) => (info.issueDate = '2030-06-15T12:00:01Z') }, 'not-yet-valid'],
  ['an expired identity', EACH, { qeIdentity: (qe) => (qe.nextUpdate = '2030-06-15T11:59:59Z') }, 'expired'],
  ['an identity of tomorrow', EACH, { qeIdentity: (qe) => (qe.issueDate = '2030-06-15T12:00:01Z') }, 'not-yet-valid'],
  ['a date that is none', EACH, { tcbInfo: (info) => (info.nextUpdate = 'never') }, 'collateral'],
  ['a status nobody knows', EACH, { tcbInfo: (info) => (info.tcbLevels[0]!.tcbStatus = 'Fine') }, 'collateral'],
  ['15 components', EACH, { tcbInfo: (info) => info.tcbLevels[0]!.tcb.sgxtcbcomponents.pop() }, 'collateral'],
  ['a platform below all levels', EACH, { platform: { cpuSvn: Buffer.alloc(16) } }, 'tcb'],
  ['a PCE below all levels', EACH, { platform: { pceSvn: 299 } }, 'tcb'],
  [
    'a revoked platform',
    EACH,
    { platform: { cpuSvn: Buffer.from('0105020204010005'.padEnd(32, '0'), 'hex') } },
    'tcb-status',
  ],
  ['a module nobody lists', TDX, { report: (report) => report.set([6, 2], 0) }, 'tcb'],
  [
    'a module below all levels',
    TDX,
    { tcbInfo: (info) => info.tcbLevels.forEach(noModule), report: moduleSvn(1) },
    'tcb',
  ],
  // Up to date by its identity would be enough for Intel's verifier: the library is stricter (dcap-library.ts).
  [
    'a module below the platform’s level',
    TDX,
    { tcbInfo: (info) => (moduleOf(info).tcbLevels[0]!.tcb.isvsvn = 4), report: moduleSvn(4) },
    'tcb',
  ],
  ['no module for TDX 1.0', TDX, { tcbInfo: (info) => delete info.tdxModule, report: (r) => r.set([6, 0], 0) }, 'tcb'],
  ['a revoked module', TDX, { tcbInfo: (info) => (moduleOf(info).tcbLevels[0]!.tcbStatus = 'Revoked') }, 'tcb-status'],
  ['a module signed by another', TDX, { report: (report) => report.fill(1, 64, 65) }, 'signer'],
  [
    'another signer in the module’s identity',
    TDX,
    { tcbInfo: (info) => (moduleOf(info).mrsigner = '01'.repeat(48)) },
    'signer',
  ],
  ['a module for debugging', TDX, { report: (report) => report.fill(1, 112, 113) }, 'debug'],
  [
    'an identity of a module for debugging',
    TDX,
    { tcbInfo: (info) => (moduleOf(info).attributes = '01'.padEnd(16, '0')) },
    'debug',
  ],
];

function textOf(field: string, from: string, to: string): DcapChanges {
  return { collateral: (collateral) => (collateral[field] = collateral[field]!.replace(from, to)) };
}

function moduleOf(info: TcbInfoJson): NonNullable<TcbInfoJson['tdxModuleIdentities']>[number] {
  return info.tdxModuleIdentities![1]!;
}

/** The library compares the module's version with the platform's levels, too: let it pass there. */
function noModule(level: PlatformLevelJson): void {
  level.tcb.tdxtcbcomponents![0]!.svn = 0;
}

function moduleSvn(svn: number): (report: Buffer) => void {
  return (report) => report.set([svn, 1], 0);
}

const QUOTES: readonly Attack[] = [
  ['a quote signed by another', EACH, { signers: { quote: anyKey() } }, 'signature'],
  ['a quoting enclave’s report signed by another', EACH, { signers: { qeReport: anyKey() } }, 'signature'],
  ['an attestation key that is not bound', EACH, { qeReport: (report) => report.fill(0, 320, 352) }, 'signature'],
  // The library pads and cuts the authentication data to 32 bytes.
  ['authentication data beyond what is bound', EACH, boundTo(32, 40), 'signature'],
  ['authentication data short of what is bound', EACH, boundTo(32, 31), 'signature'],
  [
    'an enclave of another signer for the quoting enclave',
    EACH,
    { qeReport: (report) => report.fill(1, 128, 160) },
    'chain',
  ],
  ['another product for the quoting enclave', EACH, { qeReport: (report) => report.writeUInt16LE(2, 256) }, 'chain'],
  ['a quoting enclave for debugging', EACH, { qeReport: (report) => (report[48]! |= 2) }, 'debug'],
  ['a quoting enclave of other attributes', EACH, { qeReport: (report) => (report[48]! |= 0x20) }, 'chain'],
  ['a quoting enclave of other MISCSELECT', EACH, { qeReport: (report) => report.writeUInt32LE(1, 16) }, 'chain'],
  ['a quoting enclave below all levels', EACH, { qeReport: (report) => report.writeUInt16LE(4, 258) }, 'tcb'],
  ['another vendor’s quoting enclave', EACH, { header: (header) => header.fill(1, 12, 28) }, 'malformed'],
  ['an attestation key over P-384', EACH, { header: (header) => header.writeUInt16LE(3, 2) }, 'malformed'],
  ['the other TEE', SGX, { header: (header) => header.writeUInt32LE(0x81, 4) }, 'malformed'],
  ['the other TEE', TDX, { header: (header) => header.writeUInt32LE(0, 4) }, 'malformed'],
  ['version 2', EACH, { header: (header) => header.writeUInt16LE(2, 0) }, 'malformed'],
  ['version 6', EACH, { header: (header) => header.writeUInt16LE(6, 0) }, 'malformed'],
  ['a PPID in the place of the chain', EACH, { certification: { type: 1 } }, 'malformed'],
  ['a chain in the place of the quoting enclave’s report', ['tdx 4'], { certification: { outerType: 5 } }, 'malformed'],
  ['a byte after the chain', EACH, { certification: { after: Buffer.from([0]) } }, 'malformed'],
  ['a byte after the signature data', EACH, { certification: { afterAll: Buffer.from([0]) } }, 'malformed'],
  ['a byte after the quote', EACH, { quote: (quote) => Buffer.concat([quote, Buffer.from([0, 1])]) }, 'malformed'],
  ['more than can be read', EACH, { quote: (quote) => Buffer.concat([quote, Buffer.alloc(32 * 1024)]) }, 'malformed'],
  ['a report of another length', ['tdx 5, 1.0'], { quote: (quote) => withUint32(quote, 50, 648) }, 'malformed'],
  ['an enclave for debugging', SGX, { report: (report) => (report[48]! |= 2) }, 'debug'],
  ['a TD for debugging', TDX, { report: (report) => (report[120] = 1) }, 'debug'],
  ['a TD without SEPT_VE_DISABLE', TDX, { report: (report) => (report[123] = 0) }, 'register'],
  ['a TD that may be migrated', TDX, { report: (report) => (report[123] = 0x30) }, 'migration-agent'],
  ['a TD with a service TD', ['tdx 5, 1.5'], { report: (report) => (report[647] = 1) }, 'migration-agent'],
  ['reserved bits in TD attributes', TDX, { report: (report) => (report[121] = 1) }, 'malformed'],
];

function boundTo(boundBytes: number, carriedBytes: number): DcapChanges {
  const data = Buffer.alloc(40);
  return {
    boundAuthenticationData: data.subarray(0, boundBytes),
    authenticationData: data.subarray(0, carriedBytes),
  };
}

function withUint32(quote: Buffer, offset: number, value: number): Buffer {
  quote.writeUInt32LE(value, offset);
  return quote;
}

const COLLATERALS: readonly Attack[] = [
  ['an unknown field', EACH, { collateral: (collateral) => (collateral['more'] = '') }, 'collateral'],
  ['a missing field', EACH, { collateral: (collateral) => delete collateral['pck_crl'] }, 'collateral'],
  ['a signature of 63 bytes', EACH, listAs('tcb_info_signature', (hex) => hex.slice(2)), 'collateral'],
  ['a list that is not hexadecimal', EACH, listAs('pck_crl', () => 'zz'), 'collateral'],
  ['a list too long to read', EACH, listAs('pck_crl', () => '00'.repeat(64 * 1024 + 1)), 'collateral'],
  ['a file too long to read', EACH, listAs('tcb_info', (text) => text.padEnd(600_000)), 'collateral'],
  [
    'the list’s CA is another than the quote’s',
    EACH,
    {
      collateral: (collateral, { tcbSigning, root }) =>
        (collateral['pck_crl_issuer_chain'] = chainPem(tcbSigning, root)),
    },
    'collateral',
  ],
];

for (const [title, attacks] of Object.entries({ CHAINS, LISTS, STATEMENTS, QUOTES, COLLATERALS })) {
  test(`refused for the right reason: ${title.toLowerCase()}`, () => {
    for (const [name, shapes, changes, rule] of attacks) {
      for (const shape of shapes) {
        const verification = makeDcapWorld(shape, changes).verify();
        assert.equal(
          verification.ok ? 'accepted' : verification.rule,
          rule,
          `${name}, ${shape}: ${JSON.stringify(verification)}`,
        );
      }
    }
  });
}
