import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsmProvider } from '../../src/trust/evidence/tsm-provider.ts';
import { FakeConfigfs, FAKE_ROOT } from './fake-configfs.ts';
import type { FakePlan } from './fake-configfs.ts';
import { makeReport, makeSnpWorld, NOW_MS } from './snp-world.ts';

const REPORT_DATA = new Uint8Array(64).fill(7);
const WORLD = makeSnpWorld();
const GUIDS = {
  vcek: '63da758de6644564adc5f4b93be8accd',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  ark: 'c0b406a4a803495297433fb6014cd0ae',
  other: 'ecae0c0f950243b1afa20ae2e0d565b6',
} as const;

/** As a host lays it out: entries, an entry of zeros, certificates. */
function tableOf(entries: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const headerBytes = 24 * (entries.length + 1);
  const bytes = new Uint8Array(headerBytes + entries.reduce((sum, [, der]) => sum + der.length, 0));
  const view = new DataView(bytes.buffer);
  let offset = headerBytes;
  entries.forEach(([guid, der], i) => {
    bytes.set(Buffer.from(guid, 'hex'), 24 * i);
    view.setUint32(24 * i + 16, offset, true);
    view.setUint32(24 * i + 20, der.length, true);
    bytes.set(der, offset);
    offset += der.length;
  });
  return bytes;
}

const TABLE = tableOf([
  [GUIDS.ark, WORLD.ark.der],
  [GUIDS.other, Uint8Array.of(1, 2, 3)],
  [GUIDS.ask, WORLD.ask.der],
  [GUIDS.vcek, WORLD.leaf.der],
]);

function makeSnp(changes: Partial<FakePlan> = {}): { files: FakeConfigfs; provider: TsmProvider } {
  const files = new FakeConfigfs({
    provider: 'sev_guest',
    makeReport: (reportData, vmpl) => makeReport(WORLD, { reportData, vmpl }),
    auxblob: TABLE,
    privilegeFloor: 0,
    errors: {},
    interfere: () => {},
    ...changes,
  });
  return { files, provider: new TsmProvider('sev-snp', { root: FAKE_ROOT, files }) };
}

function makeTdx(changes: Partial<FakePlan> = {}): { files: FakeConfigfs; provider: TsmProvider } {
  const files = new FakeConfigfs({
    provider: 'tdx_guest',
    makeReport: (reportData) => {
      const quote = new Uint8Array(5_000);
      quote.set(reportData, 48 + 520);
      return quote;
    },
    auxblob: undefined,
    privilegeFloor: undefined,
    errors: {},
    interfere: () => {},
    ...changes,
  });
  return { files, provider: new TsmProvider('tdx', { root: FAKE_ROOT, files }) };
}

test('an SNP report with the certificates of the host verifies', async () => {
  const { files, provider } = makeSnp();
  const evidence = await provider.makeEvidence(REPORT_DATA);
  assert.deepEqual(
    evidence.certificates.map(({ name }) => name),
    ['ark', 'ask', 'vcek'],
  );
  const verification = WORLD.verifier.verify(evidence, { nowMs: NOW_MS });
  assert.ok(verification.ok, JSON.stringify(verification));
  assert.deepEqual([...verification.facts.reportData], [...REPORT_DATA]);
  assert.equal(files.requests.size, 0, 'the request was cleaned up');
});

test('a TDX quote', async () => {
  const { files, provider } = makeTdx();
  const { kind, report, certificates } = await provider.makeEvidence(REPORT_DATA);
  assert.deepEqual([kind, report.length, certificates.length], ['tdx', 5_000, 0]);
  assert.equal(files.requests.size, 0);
});

test('a host without certificates, or with a table that is none, leaves the report as it is', async () => {
  const beyond = TABLE.slice();
  new DataView(beyond.buffer).setUint32(20, 0xffff_ffff, true);
  const twice = tableOf([
    [GUIDS.vcek, WORLD.leaf.der],
    [GUIDS.vcek, WORLD.leaf.der],
  ]);
  const endless = TABLE.slice(0, 24);
  for (const auxblob of [undefined, new Uint8Array(0), beyond, twice, endless, new Uint8Array(7).fill(1)]) {
    const { certificates } = await makeSnp({ auxblob }).provider.makeEvidence(REPORT_DATA);
    assert.deepEqual(certificates, []);
  }
});

test('below a service module the report is asked for at the lowest level that is allowed', async () => {
  const { provider } = makeSnp({ privilegeFloor: 2 });
  const { report } = await provider.makeEvidence(REPORT_DATA);
  assert.equal(new DataView(report.buffer).getUint32(0x30, true), 2);
  assert.ok(await makeSnp({ privilegeFloor: undefined }).provider.makeEvidence(REPORT_DATA));
});

test('a request that another process wrote to is made again', async () => {
  let leftCount = 2;
  const { files, provider } = makeSnp({
    interfere: (write) => {
      // Over the same data: nothing but the generation tells.
      if (leftCount-- > 0) write(REPORT_DATA);
    },
  });
  const { report } = await provider.makeEvidence(REPORT_DATA);
  assert.deepEqual([...report.subarray(0x50, 0x90)], [...REPORT_DATA]);
  assert.equal(files.madeCount, 3);
  assert.equal(files.requests.size, 0);
});

test('one who always writes is not waited for', async () => {
  const { files, provider } = makeSnp({ interfere: (write) => write(new Uint8Array(64)) });
  const message = /another process wrote to the request in each of 5 tries/;
  await assert.rejects(provider.makeEvidence(REPORT_DATA), { code: 'EVIDENCE_UNAVAILABLE', message });
  assert.equal(files.madeCount, 5);
  assert.equal(files.requests.size, 0);
});

test('a report over other data is not given out', async () => {
  const { provider } = makeSnp({ makeReport: () => makeReport(WORLD, { reportData: new Uint8Array(64) }) });
  await assert.rejects(provider.makeEvidence(REPORT_DATA), { message: /not over the data that was asked for/ });
  const cutOff = makeTdx({ makeReport: () => new Uint8Array(100) }).provider;
  await assert.rejects(cutOff.makeEvidence(REPORT_DATA), { message: /the report of 100 bytes is not over/ });
});

test('what is missing is said, and what to do', async () => {
  const cases: readonly (readonly [TsmProvider, RegExp])[] = [
    [
      makeSnp({ errors: { mkdir: 'ENOENT' } }).provider,
      /there is no .*Linux 6\.7.*modprobe sev_guest.*mount -t configfs/,
    ],
    [makeTdx({ errors: { mkdir: 'ENXIO' } }).provider, /no module makes reports.*a TDX guest and modprobe tdx_guest/],
    [makeSnp({ errors: { mkdir: 'EACCES' } }).provider, /no directory may be made.*run as root/],
    [makeSnp({ errors: { 'write inblob': 'EPERM' } }).provider, /may not be used \(EPERM\): run as root/],
    [makeSnp({ errors: { 'read outblob': 'EIO' } }).provider, /the report failed \(EIO\).*dmesg/],
    [makeTdx({ errors: { 'read outblob': 'EIO' } }).provider, /the quote failed \(EIO\).*QGS/],
    [makeSnp({ errors: { 'read outblob': 'ENXIO' } }).provider, /was unloaded: modprobe sev_guest/],
    [makeSnp({ errors: { 'read outblob': 'EBUSY' } }).provider, /another process wrote/],
    [makeSnp({ provider: 'tdx_guest' }).provider, /reports are of "tdx_guest"/],
  ];
  for (const [provider, message] of cases) {
    await assert.rejects(provider.makeEvidence(REPORT_DATA), { code: 'EVIDENCE_UNAVAILABLE', message });
  }
});

test('a failed request is cleaned up, too', async () => {
  const { files, provider } = makeSnp({ errors: { 'read outblob': 'EIO' } });
  await assert.rejects(provider.makeEvidence(REPORT_DATA));
  assert.deepEqual([files.madeCount, files.requests.size], [1, 0]);
});

test('on a machine without such files the real ones say so', async () => {
  const provider = new TsmProvider('sev-snp', { root: '/nonexistent/tsm/report' });
  await assert.rejects(provider.makeEvidence(REPORT_DATA), { message: /there is no \/nonexistent\/tsm\/report/ });
});
