import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeSandbox, runAvocado } from './avocado-process.ts';

const SANDBOX = makeSandbox();
after(() => SANDBOX.remove());

const pathOf = (name: string): string => join(SANDBOX.temporaryDirectory, name);
const avocado = (args: string[], stdin?: string) => runAvocado(SANDBOX, args, stdin === undefined ? {} : { stdin });

async function measurement(): Promise<string> {
  const { stdout } = await avocado(['measure']);
  return stdout.trim();
}

function writePolicy(name: string, roles: object): string {
  writeFileSync(pathOf(name), JSON.stringify({ format: 'avocado-policy', version: 1, roles }));
  return pathOf(name);
}

test('measure prints one hash, its parts, and its files', async () => {
  const hash = await measurement();
  assert.match(hash, /^[0-9a-f]{96}$/);
  const list = await avocado(['measure', '--list']);
  assert.equal(list.stdout.split('\n')[0], hash);
  assert.match(list.stdout, /\n[0-9a-f]{96} {2}sodium-native@\d/);
  const files = await avocado(['measure', '--files']);
  assert.match(files.stdout, /\n[0-9a-f]{96} {2}dist: bench\/avocado\.js\n/);
  const json = JSON.parse((await avocado(['measure', '--json', '--list'])).stdout) as { hash: string; parts: object[] };
  assert.equal(json.hash, hash);
  assert.ok(json.parts.length > 5);
});

test('show tells what is missing and marks what is simulated', async () => {
  const { exitCode, stdout } = await avocado(['attest', 'show', '--report-data', '0102']);
  assert.equal(exitCode, 0);
  assert.match(stdout, /^sgx +missing .*gramine-sgx/m);
  assert.match(stdout, /^simulated +made +simulated: gives no confidentiality$/m);
  assert.match(stdout, /^ {2}report data +01020{124}$/m);
  assert.match(stdout, new RegExp(`^ {2}measurement +${await measurement()}$`, 'm'));
  const sgx = await avocado(['attest', 'show', '--kind', 'sgx']);
  assert.equal(sgx.exitCode, 1);
  assert.match(sgx.stderr, /^error EVIDENCE_UNAVAILABLE: no sgx evidence, there is no \/dev\/attestation[^\n]*\n$/);
});

test('evidence of this build is accepted by the policy dev, verdict first', async () => {
  const file = pathOf('evidence.json');
  await avocado(['attest', 'show', '--kind', 'simulated', '--out', file, '--report-data', 'ff']);
  const { exitCode, stdout } = await avocado(['attest', 'verify', file, '--policy', 'dev', '--report-data', 'ff']);
  assert.equal(exitCode, 0);
  assert.match(stdout, /^accepted as replica \(simulated: gives no confidentiality\)\n\nVerified facts:\n {2}kind /);
  const piped = await avocado(['attest', 'verify', '-', '--policy', 'dev', '--json'], readFileSync(file, 'utf8'));
  const json = JSON.parse(piped.stdout) as { verdict: string; facts: { measurement: string; notice: string } };
  assert.equal(json.verdict, 'accepted');
  assert.equal(json.facts.measurement, await measurement());
  assert.equal(json.facts.notice, 'simulated: gives no confidentiality');
});

test('a refusal names rule, allowed and seen, and the exit code is 1', async () => {
  const file = pathOf('refused.json');
  await avocado(['attest', 'show', '--kind', 'simulated', '--out', file]);
  const other = 'ab'.repeat(48);
  const policy = writePolicy('other.json', { client: [{ kind: 'simulated', measurements: [other] }] });
  const asClient = await avocado(['attest', 'verify', file, '--policy', policy, '--role', 'client']);
  assert.equal(asClient.exitCode, 1);
  const hash = await measurement();
  const line = `refused as client: measurement; allowed: ${other}; seen: ${hash}`;
  assert.equal(asClient.stdout.split('\n')[0], line);
  assert.equal(asClient.stderr, '');
  const asReplica = await avocado(['attest', 'verify', file, '--policy', policy, '--json']);
  assert.equal(asReplica.exitCode, 1);
  const { verdict, rule, allowed, seen } = JSON.parse(asReplica.stdout) as Record<string, string>;
  assert.deepEqual([verdict, rule, allowed, seen], ['refused', 'role', 'roles with entries: client', 'replica']);
  const bound = await avocado(['attest', 'verify', file, '--policy', 'dev', '--report-data', '01']);
  assert.match(bound.stdout, /^refused as replica: report-data;/);
  const later = await avocado(['attest', 'verify', file, '--policy', 'dev', '--time', '2099-01-01']);
  assert.match(later.stdout, /^refused as replica: expired; allowed: .*; seen: 2099-01-01T00:00:00Z\n$/);
});

test('what is no evidence is refused; what is no file or no policy is wrong input', async () => {
  writeFileSync(pathOf('garbage'), 'nothing');
  const garbage = await avocado(['attest', 'verify', pathOf('garbage'), '--policy', 'dev']);
  assert.equal(garbage.exitCode, 1);
  assert.match(garbage.stdout, /^refused as replica: malformed; [^\n]*not JSON[^\n]*\n$/);
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [['attest', 'verify', pathOf('none'), '--policy', 'dev'], /EVIDENCE_FILES: .*none can't be read \(ENOENT\)/],
    [
      ['attest', 'verify', pathOf('garbage'), '--policy', pathOf('garbage')],
      /EVIDENCE_FILES: the policy .* is not JSON/,
    ],
    [['attest', 'verify', pathOf('garbage'), '--policy', writePolicy('admin.json', { admin: [] })], /"admin"/],
    [['attest', 'verify', pathOf('garbage')], /--policy/],
    [['attest', 'verify', 'x', '--policy', 'dev', '--time', 'yesterday'], /Give a time like 2025-06-20/],
    [['attest', 'verify', 'x', '--policy', 'dev', '--time', '2025-13-01'], /Give a time like/],
    [['attest', 'show', '--report-data', '0'], /1 to 64 bytes in hexadecimal/],
    [['attest', 'show', '--report-data', '00'.repeat(65)], /1 to 64 bytes in hexadecimal/],
    [['attest', 'show', '--kind', 'nitro'], /Allowed choices/],
  ];
  for (const [args, message] of wrong) {
    const { exitCode, stderr } = await avocado(args);
    assert.equal(exitCode, 2, args.join(' '));
    assert.match(stderr, message);
    assert.equal(stderr.split('\n').length, 2, 'one line');
  }
});

test('text of a stranger reaches no terminal as control characters', async () => {
  writeFileSync(pathOf('escape'), '{"\\u001b[31m": 1}');
  const { stdout } = await avocado(['attest', 'verify', pathOf('escape'), '--policy', 'dev']);
  assert.match(stdout, /^refused/);
  assert.ok(!stdout.includes('\u001b'));
});

test('schema prints a JSON Schema', async () => {
  const schema = JSON.parse((await avocado(['attest', 'schema'])).stdout) as { $schema: string };
  assert.match(schema.$schema, /json-schema\.org/);
});
