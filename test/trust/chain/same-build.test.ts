/** CAS judged without a policy file: it must be what this process is, in all that its platform measures. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Evidence, EvidenceKind, MeasuredFacts } from '../../../src/trust/evidence/evidence.ts';
import { EvidenceJudge } from '../../../src/trust/chain/platform.ts';
import type { Platform } from '../../../src/trust/chain/platform.ts';
import { sameBuild } from '../../../src/trust/chain/same-build.ts';

const REPORT_DATA = new Uint8Array(64).fill(3);
const MEASUREMENT = { tdx: 'ab'.repeat(48), 'sev-snp': 'cd'.repeat(48), sgx: 'ef'.repeat(32) };

type Kind = keyof typeof MEASUREMENT;

function factsOf(kind: Kind, changed: Partial<MeasuredFacts> = {}): MeasuredFacts {
  return {
    kind,
    measurement: MEASUREMENT[kind],
    signers: [],
    registers: kind === 'tdx' ? { rtmr0: '00', rtmr1: '11', rtmr2: '22', rtmr3: '33' } : {},
    reportData: REPORT_DATA,
    tcb: {},
    tcbStatus: kind === 'sev-snp' ? undefined : 'UpToDate',
    advisoryIds: [],
    debug: false,
    migrationAgent: false,
    platformId: '01',
    vmpl: kind === 'sev-snp' ? 0 : undefined,
    revocationChecked: true,
    validFromMs: 0,
    validUntilMs: Number.MAX_SAFE_INTEGER,
    shown: [],
    ...changed,
  };
}

/** The rule by which a process on such a platform refuses a CAS that its platform says this of. */
async function refusedBy(kind: Kind, seen: MeasuredFacts): Promise<string | undefined> {
  const evidence: Evidence = { kind, report: new Uint8Array(1), certificates: [] };
  const platform: Platform = {
    kind,
    provider: { kind, makeEvidence: async () => evidence },
    local: undefined,
    sealing: { description: '', key: async () => new Uint8Array(32) },
  };
  const judge = new (class extends EvidenceJudge {
    override verify(): ReturnType<EvidenceJudge['verify']> {
      return { ok: true, facts: factsOf(kind) };
    }
  })();
  return (await sameBuild(platform, judge, () => 0)(seen, REPORT_DATA))?.rule;
}

test('should accept a CAS that is as this process', async () => {
  for (const kind of ['tdx', 'sev-snp', 'sgx'] as const) assert.equal(await refusedBy(kind, factsOf(kind)), undefined);
});

test('should refuse another kernel or command line under the same firmware', async () => {
  const { registers } = factsOf('tdx');
  assert.equal(await refusedBy('tdx', factsOf('tdx', { registers: { ...registers, rtmr1: '12' } })), 'register');
  assert.equal(await refusedBy('tdx', factsOf('tdx', { registers: { ...registers, rtmr2: '12' } })), 'register');
  // What firmware tells of the machine's shape, and what the running system adds.
  assert.equal(
    await refusedBy('tdx', factsOf('tdx', { registers: { ...registers, rtmr0: '1', rtmr3: '1' } })),
    undefined,
  );
});

test('should refuse what a policy refuses that says no more than the build', async () => {
  for (const [kind, changed, rule] of [
    ['sgx', { tcbStatus: 'OutOfDate' }, 'tcb-status'],
    ['sgx', { measurement: '00'.repeat(32) }, 'measurement'],
    ['sgx', { debug: true }, 'debug'],
    ['sev-snp', { vmpl: 2 }, 'vmpl'],
    ['sev-snp', { migrationAgent: true }, 'migration-agent'],
    ['sev-snp', { revocationChecked: false }, 'revocation-list'],
    ['sev-snp', { reportData: new Uint8Array(64) }, 'report-data'],
    ['tdx', { kind: 'simulated' as EvidenceKind }, 'kind'],
  ] as const) {
    assert.equal(await refusedBy(kind, factsOf(kind, changed)), rule);
  }
});
