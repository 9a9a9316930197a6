/** CAS, LAS, replicas and clients as operators start them: processes of their own, found by the CAS reference alone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { UdpTransport } from '../../net/udp.ts';
import { makeSandbox, runAvocado, startAvocado } from './avocado-process.ts';
import type { Sandbox } from './avocado-process.ts';

class Service {
  readonly #lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #child: ReturnType<typeof startAvocado>;
  readonly #ended: Promise<unknown>;

  constructor(context: TestContext, sandbox: Sandbox, args: readonly string[]) {
    this.#child = startAvocado(sandbox, args);
    this.#ended = once(this.#child, 'close');
    for (const input of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input }).on('line', (line) => {
        this.#lines.push(line);
        for (const look of this.#waiting) look();
      });
    }
    context.after(() => this.end());
  }

  /** The first match in what it prints, now or later. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        for (const line of this.#lines) {
          const match = pattern.exec(line);
          if (match === null) continue;
          this.#waiting.delete(look);
          resolve(match);
          return;
        }
      };
      this.#waiting.add(look);
      void this.#ended.then(() =>
        reject(new Error(`it ended and had not said ${pattern}:\n${this.#lines.join('\n')}`)),
      );
      look();
    });
  }

  async end(): Promise<void> {
    this.#child.kill('SIGINT');
    await this.#ended;
  }
}

async function freePort(): Promise<number> {
  const probe = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
  await probe.close();
  return probe.port;
}

test('a cluster of one by CAS and LAS: put and get, an outage of CAS, its restart, its log', async (t) => {
  const sandbox = makeSandbox();
  t.after(() => sandbox.remove());
  const path = (name: string): string => join(sandbox.temporaryDirectory, name);
  const run = (...args: string[]): ReturnType<typeof runAvocado> => runAvocado(sandbox, args);
  const machine = ['--machine', path('machine.json')];
  const service = (...args: string[]): Service => new Service(t, sandbox, [...args, ...machine]);
  Object.assign(sandbox.environment, { HOME: sandbox.temporaryDirectory });

  const key = await run('cas', 'operator-key', path('operator.json'));
  assert.match(key.stdout, /^[0-9a-f]{128}\n$/);
  const members = `127.0.0.1:${await freePort()}`;
  const cas = service(
    'cas',
    'new',
    path('cas'),
    '--policy',
    'dev',
    '--operator',
    key.stdout.trim(),
    '--members',
    members,
    '--listen',
    '127.0.0.1:0',
  );
  const reference = (await cas.says(/cas is (https:\S+#[0-9a-f]{64}),/))[1]!;
  const las = service('las', '--cas', reference, '--listen', '127.0.0.1:0');
  const lasUrl = (await las.says(/listens at (\S+),/))[1]!;
  await las.says(/is attested/);
  const replica = service('replica', '--index', '0', '--cas', reference, '--las', lasUrl);
  await replica.says(/active/);

  Object.assign(sandbox.environment, { AVOCADO_LAS: lasUrl });
  // Clients share the machine by its default path.
  writeFileSync(path('.avocado-machine.json'), readFileSync(path('machine.json')), { mode: 0o600 });
  assert.equal((await run('put', 'k', 'v', '--cluster', reference)).stdout, 'ok\n');
  const got = await run('get', 'k', '--cluster', reference);
  assert.deepEqual([got.stdout, got.stderr, got.exitCode], ['v', '', 0]);

  const attested = await run('attest', 'verify', reference, '--policy', 'dev', '--role', 'cas');
  assert.match(attested.stdout, /^accepted as cas \(simulated: gives no confidentiality\)\n/);
  assert.equal(attested.exitCode, 0);
  const policy = path('policy.json');
  writeFileSync(policy, '{"format":"avocado-policy","version":1,"roles":{"client":[{}]}}');
  const operator = ['--operator-key', path('operator.json'), '--cas', reference, ...machine];
  const wrong = await run('cas', 'set-policy', policy, ...operator);
  assert.match(wrong.stderr, /^error EVIDENCE_FILES: \S+policy\.json is wrong, roles\.client\[0\]/);
  const entries = [{ kind: 'simulated', measurements: [(await run('measure')).stdout.trim()] }];
  const roles = { cas: entries, las: entries, replica: entries, client: [] };
  const closed = JSON.stringify({ format: 'avocado-policy', version: 1, roles });
  writeFileSync(policy, closed);
  assert.match(
    (await run('cas', 'set-policy', policy, ...operator)).stdout,
    /^policy and settings [0-9a-f]{64} are in force/,
  );
  assert.match((await run('get', 'k', '--cluster', reference)).stderr, /^error ADMISSION_REFUSED: .*rule role/);
  writeFileSync(policy, closed.replace('"client":[]', `"client":${JSON.stringify(entries)}`));
  assert.equal((await run('cas', 'set-policy', policy, ...operator)).exitCode, 0);
  const shown = await run('cas', 'show', '--cas', reference, '--json', ...machine);
  const { verdict, document } = JSON.parse(shown.stdout) as { verdict: string; document: Record<string, unknown> };
  assert.equal(verdict, 'accepted');
  assert.equal(document['policyThreshold'], 1);
  const head = `${String(document['auditCount'])}:${String(document['auditHead'])}`;
  const log = path('cas/audit.log');
  const whole = await run('audit', 'verify', log, '--key', reference, '--head', head, '--list');
  assert.match(whole.stdout, /admitted {2}role=replica memberIndex=0 .*\n(.*\n)*whole: 8 entries/);
  assert.equal(whole.exitCode, 0);

  await cas.end();
  const down = await run('get', 'k', '--cluster', reference, '--timeout', '1s');
  assert.match(down.stderr, /^error TRUST_UNAVAILABLE: https:\S+ can't be reached \(ECONNREFUSED\)\n$/);
  assert.equal(down.exitCode, 1);

  const port = /:(\d+)#/.exec(reference)![1]!;
  const again = service('cas', 'run', path('cas'), '--listen', `127.0.0.1:${port}`);
  await again.says(/serves, confirmed by witnesses/);
  assert.equal((await run('get', 'k', '--cluster', reference)).stdout, 'v');
  await again.end();

  const edited = readFileSync(log, 'utf8').replace('127.0.0.1', '127.0.0.2');
  writeFileSync(log, edited);
  const broken = await run('audit', 'verify', log, '--key', reference);
  assert.match(broken.stderr, /audit\.log is not whole, line \d+: it is not signed by the cluster key\n$/);
  assert.equal(broken.exitCode, 1);
  const refused = await run('cas', 'run', path('cas'), '--listen', '127.0.0.1:0', ...machine);
  assert.match(refused.stderr, /^error CLUSTER_FILES: \S+audit\.log was changed, line \d+/);
});
