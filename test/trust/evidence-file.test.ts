import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CERTIFICATE_NAMES, EVIDENCE_KINDS } from '../../src/trust/evidence/evidence.ts';
import type { Evidence } from '../../src/trust/evidence/evidence.ts';
import {
  CERTIFICATE_BYTES_MAX,
  EVIDENCE_CHARS_MAX,
  parseEvidence,
  readEvidence,
  REPORT_BYTES_MAX,
  writeEvidence,
} from '../../src/trust/evidence/evidence-file.ts';
import { verifyEvidence } from '../../src/trust/evidence/verifiers.ts';

const EVIDENCE: Evidence = {
  kind: 'sev-snp',
  report: Uint8Array.of(1, 2, 3, 4),
  certificates: [{ name: 'vcek', bytes: Uint8Array.of(5, 6) }],
};

const ANY_EVIDENCE: fc.Arbitrary<Evidence> = fc
  .tuple(
    fc.constantFrom(...EVIDENCE_KINDS),
    fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
    fc.subarray([...CERTIFICATE_NAMES]),
    fc.uint8Array({ minLength: 1 }),
  )
  .map(([kind, report, names, bytes]) => ({ kind, report, certificates: names.map((name) => ({ name, bytes })) }));

test('what was written is read back', () => {
  fc.assert(fc.property(ANY_EVIDENCE, (evidence) => assert.deepEqual(readEvidence(writeEvidence(evidence)), evidence)));
});

test('the largest evidence there can be fits in its bound', () => {
  const certificates = CERTIFICATE_NAMES.map((name) => ({ name, bytes: new Uint8Array(CERTIFICATE_BYTES_MAX) }));
  const largest: Evidence = { kind: 'sev-snp', report: new Uint8Array(REPORT_BYTES_MAX), certificates };
  const text = writeEvidence(largest);
  assert.ok(text.length <= EVIDENCE_CHARS_MAX);
  assert.deepEqual(readEvidence(text), largest);
});

test('a file that is wrong is refused with the place', () => {
  const good = JSON.parse(writeEvidence(EVIDENCE)) as Record<string, unknown>;
  const cases: readonly (readonly [object | string, RegExp])[] = [
    ['nonsense', /is not JSON/],
    ['[]', /expected object/],
    [{ ...good, format: 'other' }, /format: .*"avocado-evidence"/],
    [{ ...good, version: 2 }, /version/],
    [{ ...good, kind: 'nitro' }, /kind/],
    [{ ...good, more: 1 }, /"more"/],
    [{ ...good, report: undefined }, /report/],
    [{ ...good, report: '' }, /report: must be 1 to 32768 bytes in base64/],
    [{ ...good, report: 'AQIDBA' }, /report: must be .* in base64/],
    [{ ...good, report: 'AQIDBB==' }, /report/],
    [{ ...good, report: 'AQID BA==' }, /report/],
    [{ ...good, report: 'A'.repeat(43_696) }, /report: must be 32768 bytes at most/],
    [
      {
        ...good,
        certificates: [
          { name: 'vcek', bytes: 'AA==' },
          { name: 'vcek', bytes: 'AA==' },
        ],
      },
      /given twice/,
    ],
    [{ ...good, certificates: [{ name: 'root', bytes: 'AA==' }] }, /certificates\[0\]\.name/],
    [{ ...good, certificates: [{ name: 'vcek', bytes: 7 }] }, /certificates\[0\]\.bytes/],
    [' '.repeat(EVIDENCE_CHARS_MAX + 1), /has 131073 characters, 131072 at most/],
  ];
  for (const [content, message] of cases) {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    assert.throws(() => readEvidence(text), { code: 'EVIDENCE_FILES', message });
  }
});

test('bytes of strangers never throw, neither here nor in a verifier', () => {
  const text = new TextEncoder().encode(writeEvidence(EVIDENCE));
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((json) => new TextEncoder().encode(json)),
    ANY_EVIDENCE.map((evidence) => new TextEncoder().encode(writeEvidence(evidence))),
    fc.tuple(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => {
      const changed = text.slice();
      changed[at]! ^= mask;
      return changed;
    }),
  );
  fc.assert(
    fc.property(hostile, fc.option(fc.uint8Array(), { nil: undefined }), (bytes, collateral) => {
      const parsed = parseEvidence(bytes);
      if (!parsed.ok) return;
      const context = { nowMs: 0, ...(collateral === undefined ? {} : { collateral }) };
      assert.equal(verifyEvidence(parsed.evidence, context).ok, false);
    }),
    { numRuns: 500 },
  );
});
