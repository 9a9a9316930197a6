/** What strangers send to CAS and LAS ends in a refusal with a reason, whatever it is; no mistake of ours, nothing admitted. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { generateStaticKeyPair } from '../../../workers/signing.ts';
import { AvocadoError } from '../../../src/errors.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { writeEvidence } from '../../../src/trust/evidence/evidence-file.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { PinnedServer } from '../../../src/trust/chain/https-call.ts';
import type { RunningLas } from '../../../src/trust/chain/las.ts';
import { joinReportData } from '../../../src/trust/chain/report-data.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { DEFAULT_PROFILE } from '../../../src/trust/profile-name.ts';
import { Chain } from './chain-fixture.ts';

const machine = createSimulatedMachine();
let chain: Chain;
let las: RunningLas;

before(async () => {
  chain = await Chain.start();
  las = await chain.startLas(machine);
  await las.attested;
});
after(() => chain.close());

async function outcome(url: string, path: string, content: object): Promise<string> {
  const server = new PinnedServer('CAS', url);
  try {
    await server.callRaw(path, content, { timeoutMs: 5_000 });
    return 'answered';
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return /the service failed/.test(error.message) ? 'failed' : 'refused';
  } finally {
    server.close();
  }
}

test('any JSON, at any path', async () => {
  const { url } = parseCasReference(chain.cas.reference);
  const paths: [string, string][] = [
    ...['/v1/identity', '/v1/las', '/v1/join', '/v1/operator'].map((path): [string, string] => [url, path]),
    [las.url, '/v1/voucher'],
    [las.url, '/v1/witness'],
  ];
  const content = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom('nonce', 'proof', 'word', '__proto__'), fc.jsonValue()),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), content, async ([at, path], value) => {
      assert.equal(await outcome(at, path, { ...(value as object) }), 'refused');
    }),
    { numRuns: 100 },
  );
  assert.deepEqual(chain.errors, []);
});

test('a genuine join with any one field exchanged', async () => {
  const { url } = parseCasReference(chain.cas.reference);
  const cas = await chain.connect();
  const genuine = async (): Promise<Record<string, unknown>> => {
    const claim = {
      role: 'client' as const,
      memberIndex: null,
      nonce: await cas.nonce(),
      staticKey: hexOf(generateStaticKeyPair().publicKey),
      deliveryKey: hexOf(generateStaticKeyPair().publicKey),
      profile: DEFAULT_PROFILE,
    };
    const evidence = await chain.platform(machine).provider.makeEvidence(joinReportData(claim));
    return {
      ...claim,
      wantsDataKeys: true,
      enrolment: null,
      proof: { type: 'evidence', evidence: writeEvidence(evidence) },
    };
  };
  assert.equal(await outcome(url, '/v1/join', await genuine()), 'answered');
  const fields = ['role', 'memberIndex', 'nonce', 'staticKey', 'deliveryKey', 'profile', 'enrolment', 'proof'];
  const replacement = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('replica', 0, 6),
    fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => hexOf(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...fields), replacement, async (field, value) => {
      const request = await genuine();
      fc.pre(JSON.stringify(request[field]) !== JSON.stringify(value));
      assert.equal(await outcome(url, '/v1/join', { ...request, [field]: value }), 'refused');
    }),
    { numRuns: 60 },
  );
  assert.deepEqual(chain.errors, []);
});
