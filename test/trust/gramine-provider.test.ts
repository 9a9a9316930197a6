import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { GramineProvider } from '../../src/trust/evidence/gramine-provider.ts';
import { SYSTEM_FILES } from '../../src/trust/evidence/report-files.ts';
import type { ReportFiles } from '../../src/trust/evidence/report-files.ts';

const ROOT = mkdtempSync(join(tmpdir(), 'avocado-gramine-'));
after(() => rmSync(ROOT, { recursive: true, force: true }));

const QUOTE_BYTES = 4_600;

/** Files as Gramine has them: whoever reads the quote gets one over what was written last. */
function makeFiles(): ReportFiles {
  return {
    ...SYSTEM_FILES,
    read: async (path) => {
      if (!path.endsWith('/quote')) return SYSTEM_FILES.read(path);
      const quote = new Uint8Array(QUOTE_BYTES);
      quote.set(readFileSync(join(ROOT, 'user_report_data')), 48 + 320);
      return quote;
    },
  };
}

function makeProvider(files: ReportFiles = makeFiles()): GramineProvider {
  return new GramineProvider({ root: ROOT, files });
}

function setUp(type = 'dcap'): void {
  writeFileSync(join(ROOT, 'attestation_type'), type);
  writeFileSync(join(ROOT, 'user_report_data'), new Uint8Array(64));
}

test('a quote over the report data', async () => {
  setUp();
  const reportData = new Uint8Array(64).fill(9);
  const { kind, report, certificates } = await makeProvider().makeEvidence(reportData);
  assert.deepEqual([kind, report.length, certificates.length], ['sgx', QUOTE_BYTES, 0]);
  assert.deepEqual([...readFileSync(join(ROOT, 'user_report_data'))], [...reportData]);
});

test('requests of one enclave wait for each other, and one that fails holds up none', async () => {
  setUp();
  let failsLeft = 1;
  const files = makeFiles();
  const provider = makeProvider({
    ...files,
    read: async (path) => {
      // Long enough for another to write in between.
      await new Promise((resolve) => setImmediate(resolve));
      if (path.endsWith('/quote') && failsLeft-- > 0) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      return files.read(path);
    },
  });
  const made = await Promise.allSettled(
    [1, 2, 3].map((value) => provider.makeEvidence(new Uint8Array(64).fill(value))),
  );
  assert.deepEqual(
    made.map((result) => (result.status === 'fulfilled' ? result.value.report[48 + 320] : 'failed')),
    ['failed', 2, 3],
  );
});

test('what is missing is said, and what to do', async () => {
  const reportData = new Uint8Array(64).fill(9);
  const rejects = (message: RegExp, provider = makeProvider()): Promise<void> =>
    assert.rejects(provider.makeEvidence(reportData), { code: 'EVIDENCE_UNAVAILABLE', message });
  setUp('none');
  await rejects(/attestation is "none": set sgx\.remote_attestation = "dcap"/);
  setUp();
  rmSync(join(ROOT, 'user_report_data'));
  await rejects(/the quote failed \(ENOENT\).*aesmd/);
  await rejects(/there is no \/nonexistent: run under gramine-sgx/, new GramineProvider({ root: '/nonexistent' }));
  setUp();
  const stale = makeProvider({ ...makeFiles(), write: () => Promise.resolve() });
  await rejects(/the quote is not over the data/, stale);
});

test('files that can only be written are written, whole and in place', async () => {
  const path = join(ROOT, 'write-only');
  writeFileSync(path, 'xxxx', { mode: 0o200 });
  await SYSTEM_FILES.write(path, new TextEncoder().encode('abcd'));
  chmodSync(path, 0o600);
  assert.equal(readFileSync(path, 'utf8'), 'abcd');
  await assert.rejects(SYSTEM_FILES.write(join(ROOT, 'none'), new Uint8Array(1)), { code: 'ENOENT' });
});
