import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { AvocadoError } from '../../src/errors.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { initClusterDirectory } from '../../src/trust/cluster-directory.ts';
import { writeConfiguration } from '../../src/trust/cluster-configuration.ts';
import { openAuthority } from '../../src/trust/open-authority.ts';
import { Permissions } from '../../src/trust/permissions.ts';
import { generateSigningKeyPair, generateStaticKeyPair } from '../../workers/signing.ts';

const root = mkdtempSync(join(tmpdir(), 'avocado-test-'));
after(() => rmSync(root, { recursive: true }));

const members = [7400, 7401, 7402].map((port) => ({ host: '127.0.0.1', port }));
const client = { role: 'client' } as const;
const replica = (index: number) => ({ role: 'replica', index }) as const;
const nowSeconds = (): number => Date.now() / 1000;

/** A fresh cluster for each test. */
let directory = '';
let directoryCount = 0;
beforeEach(() => {
  directory = join(root, `cluster-${directoryCount++}`);
  initClusterDirectory({ directory, members, mode: 'secure' });
});

function modeOf(name: string): string {
  return (statSync(join(directory, name)).mode & 0o777).toString(8);
}

/** The message of the error, after a check that it is one line with the right code. */
function failure(act: () => unknown, code: ErrorCode = 'CLUSTER_FILES'): string {
  try {
    act();
  } catch (error) {
    assert(error instanceof AvocadoError, String(error));
    assert.equal(error.code, code);
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  }
  return assert.fail('it was accepted');
}

function edit(name: string, change: (content: Record<string, unknown>) => void): void {
  const path = join(directory, name);
  const content = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  change(content);
  writeFileSync(path, JSON.stringify(content));
}

test('only cluster.json is readable by others, and the directory is closed', () => {
  assert.equal(modeOf('.'), '700');
  assert.equal(modeOf('cluster.json'), '644');
  const secrets = readdirSync(directory).filter((name) => name !== 'cluster.json');
  assert.deepEqual(secrets.sort(), [
    'client.json',
    'cluster-key.json',
    'data-key.json',
    'replica-0.json',
    'replica-1.json',
    'replica-2.json',
  ]);
  for (const name of secrets) assert.equal(modeOf(name), '600', name);
});

test('secrets are 0600 whatever the umask', () => {
  const before = process.umask(0);
  try {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
  } finally {
    process.umask(before);
  }
  for (const name of ['client.json', 'cluster-key.json', 'data-key.json', 'replica-0.json']) {
    assert.equal(modeOf(name), '600', name);
  }
  assert.equal(modeOf('.'), '700');
});

test('every role reads the same cluster and accepts the others', () => {
  const authorities = [openAuthority(directory, client), ...[0, 1, 2].map((i) => openAuthority(directory, replica(i)))];
  for (const authority of authorities) {
    assert.equal(authority.mode, 'secure');
    assert.equal(authority.configuration.epoch, 1);
    assert.deepEqual(
      authority.configuration.members.map(({ index, host, port }) => ({ index, host, port })),
      members.map((member, index) => ({ index, ...member })),
    );
    assert.deepEqual(authority.clusterId, authorities[0]!.clusterId);
    assert.equal(authority.dataKeys.currentId(new Int32Array(2), 0, 8), 1);
    assert.equal(authority.dataKeys.key(1)?.length, 32);
    assert.deepEqual(authority.dataKeys.key(1), authorities[0]!.dataKeys.key(1));
    assert.equal(authority.dataKeys.key(99), undefined);
  }
  const [own, ...replicas] = authorities;
  replicas.forEach((authority, memberIndex) => {
    const { publicKey } = authority.staticKeyPair;
    assert.deepEqual(own!.configuration.members[memberIndex]?.staticKey, publicKey);
    assert.deepEqual(own!.verify(authority.certificate, publicKey, nowSeconds()), {
      ok: true,
      identity: { role: 'replica', memberIndex, permissions: Permissions.ALL },
      voucherGroup: 0,
    });
    const verdict = authority.verify(own!.certificate, own!.staticKeyPair.publicKey, nowSeconds());
    assert(verdict.ok && verdict.identity.role === 'client');
  });
});

test('the certificate of a replica that the configuration no longer holds is refused', () => {
  const before = openAuthority(directory, replica(1));
  const configuration = openAuthority(directory, client);
  const { publicKey, secretKey } = clusterKey();
  const changed = configuration.configuration.members.map((member) =>
    member.index === 1 ? { ...member, staticKey: generateStaticKeyPair().publicKey } : member,
  );
  const { clusterId, mode } = configuration;
  writeConfiguration(
    directory,
    { clusterId, mode, epoch: 2, clusterPublicKey: publicKey, members: changed },
    secretKey,
  );

  const now = openAuthority(directory, client);
  assert.equal(now.configuration.epoch, 2);
  const verdict = now.verify(before.certificate, before.staticKeyPair.publicKey, nowSeconds());
  assert(!verdict.ok);
  assert.match(verdict.reason, /replica 1's, which has another key here/);
});

function clusterKey(): { publicKey: Uint8Array; secretKey: Uint8Array } {
  const file = JSON.parse(readFileSync(join(directory, 'cluster-key.json'), 'utf8')) as Record<string, string>;
  return { publicKey: Buffer.from(file['publicKey']!, 'hex'), secretKey: Buffer.from(file['secretKey']!, 'hex') };
}

test('an existing cluster is kept unless replaced by force', () => {
  const before = readFileSync(join(directory, 'cluster.json'), 'utf8');
  const message = failure(() => initClusterDirectory({ directory, members, mode: 'secure' }));
  assert.match(message, /holds a cluster already.*--force/);
  assert.equal(readFileSync(join(directory, 'cluster.json'), 'utf8'), before);

  // A lost cluster.json does not make the keys beside it worthless.
  rmSync(join(directory, 'cluster.json'));
  assert.match(
    failure(() => initClusterDirectory({ directory, members, mode: 'secure' })),
    /--force/,
  );

  writeFileSync(join(directory, 'notes.txt'), 'mine');
  const { clusterIdHex } = initClusterDirectory({
    directory,
    members: members.slice(0, 1),
    mode: 'plaintext',
    force: true,
  });
  const authority = openAuthority(directory, replica(0));
  assert.equal(Buffer.from(authority.clusterId).toString('hex'), clusterIdHex);
  assert.equal(authority.mode, 'plaintext');
  assert.equal(existsSync(join(directory, 'replica-1.json')), false, 'a key of the old cluster stayed');
  assert.equal(readFileSync(join(directory, 'notes.txt'), 'utf8'), 'mine');
});

test('a directory with other files in it is left as it is', () => {
  const home = join(root, 'home');
  mkdirSync(home, { mode: 0o755 });
  writeFileSync(join(home, 'letter'), 'dear');
  for (const force of [false, true]) {
    const message = failure(() => initClusterDirectory({ directory: home, members, mode: 'secure', force }));
    assert.match(message, /holds other files: give a new or an empty directory/);
  }
  assert.equal(statSync(home).mode & 0o777, 0o755);
  assert.deepEqual(readdirSync(home), ['letter']);
});

test('a directory that cannot be made is one line', () => {
  const path = join(directory, 'cluster.json', 'below');
  assert.match(
    failure(() => initClusterDirectory({ directory: path, members, mode: 'secure' })),
    /can't be written \(ENOTDIR\): give a directory/,
  );
});

test('member counts that are not 2f+1, addresses given twice and wrong addresses are refused', () => {
  const init = (addresses: { host: string; port: number }[]): string =>
    failure(
      () => initClusterDirectory({ directory: join(root, 'never'), members: addresses, mode: 'secure' }),
      'INVALID_ARGUMENT',
    );
  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ host: 'h', port: 1 + i }));
  for (const count of [0, 2, 4, 6, 8, 9])
    assert.match(init(many(count)), new RegExp(`1, 3, 5 or 7 members.*not ${count}$`));
  assert.match(init([...many(2), ...many(1)]), /h:1 is given twice/);
  for (const host of ['', 'a b', 'a\nb', '-x', 'é', 'h;rm', 'x'.repeat(300)]) {
    assert.match(init([{ host, port: 1 }]), /host:port/, host);
  }
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) assert.match(init([{ host: 'h', port }]), /from 1 to 65535/);
  assert.equal(existsSync(join(root, 'never')), false);
  for (const host of ['::1', 'fe80::1', '10.0.0.1', 'replica-0.cluster.local', 'a_b']) {
    initClusterDirectory({ directory, members: [{ host, port: 1 }], mode: 'secure', force: true });
    assert.equal(openAuthority(directory, replica(0)).configuration.members[0]?.host, host);
  }
});

test('a missing file is named, with where to get it', () => {
  assert.match(
    failure(() => openAuthority(join(root, 'nowhere'), client)),
    /nowhere\/cluster\.json is missing: run avocado init/,
  );
  assert.match(
    failure(() => openAuthority(directory, replica(3))),
    /replica-3\.json is missing: the cluster has 3 members, give an index from 0 to 2/,
  );
  for (const [name, role] of [
    ['replica-0.json', replica(0)],
    ['client.json', client],
    ['data-key.json', client],
  ] as const) {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
    rmSync(join(directory, name));
    const message = failure(() => openAuthority(directory, role));
    assert(message.startsWith(join(directory, name)), message);
    assert.match(message, /is missing: copy it from/);
  }
});

test('a process needs its own secrets only', () => {
  for (const name of ['cluster-key.json', 'client.json', 'replica-0.json', 'replica-2.json'])
    rmSync(join(directory, name));
  openAuthority(directory, replica(1));
});

test('a file that is no file, no JSON, no object, too large, or of another version is named', () => {
  const expectations: [name: string, content: string, expected: RegExp][] = [
    ['cluster.json', '{"formatVersion": 1', /cluster\.json is not JSON/],
    ['cluster.json', '[]', /cluster\.json is damaged, the whole must be an object/],
    ['client.json', 'null', /client\.json is damaged, the whole must be an object/],
    ['client.json', '', /client\.json is not JSON/],
    ['client.json', '{}', /client\.json is damaged, formatVersion must be/],
    ['cluster.json', '{"formatVersion": 2}', /has format version 2, this avocado reads 1/],
    ['data-key.json', ' '.repeat(2 ** 20 + 1), /data-key\.json has 1048577 bytes/],
  ];
  for (const [name, content, expected] of expectations) {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
    writeFileSync(join(directory, name), content);
    assert.match(
      failure(() => openAuthority(directory, client)),
      expected,
    );
  }
  rmSync(join(directory, 'data-key.json'));
  mkdirSync(join(directory, 'data-key.json'), { mode: 0o700 });
  initClusterDirectory({ directory: join(root, 'other'), members, mode: 'secure' });
  for (const name of ['cluster.json', 'client.json']) copyFileSync(join(root, 'other', name), join(directory, name));
  assert.match(
    failure(() => openAuthority(directory, client)),
    /data-key\.json is no file/,
  );
});

test('each field of each file is checked', () => {
  const wrong: [name: string, field: string, value: unknown][] = [
    ['cluster.json', 'clusterId', 'ab'],
    ['cluster.json', 'mode', 'open'],
    ['cluster.json', 'mode', 7],
    ['cluster.json', 'epoch', 0],
    ['cluster.json', 'epoch', '1'],
    ['cluster.json', 'clusterPublicKey', 'ZZ'.repeat(32)],
    ['cluster.json', 'members', {}],
    ['cluster.json', 'members', []],
    ['cluster.json', 'signature', 'ab'.repeat(63)],
    ['client.json', 'clusterId', null],
    ['client.json', 'certificate', 'ab'.repeat(127)],
    ['client.json', 'staticPublicKey', 'ab'.repeat(33)],
    ['client.json', 'staticSecretKey', 'AB'.repeat(32)],
    ['data-key.json', 'currentId', -1],
    ['data-key.json', 'currentId', 2],
    ['data-key.json', 'keys', 'x'],
    ['data-key.json', 'keys', [null]],
    ['data-key.json', 'keys', [{ id: 1, key: 'ab' }]],
    ['data-key.json', 'keys', [{ id: 2 ** 32, key: 'ab'.repeat(32) }]],
    ['data-key.json', 'keys', [1, 1].map((id) => ({ id, key: 'ab'.repeat(32) }))],
  ];
  for (const [name, field, value] of wrong) {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
    edit(name, (content) => {
      content[field] = value;
    });
    const message = failure(() => openAuthority(directory, client));
    const what = `${name} ${field} ${JSON.stringify(value)}: ${message}`;
    assert(message.startsWith(join(directory, name)), what);
    assert.match(message, new RegExp(`is damaged, .*${field}.* must`), what);
  }
});

test('a change of anything in cluster.json breaks its signature', () => {
  type Content = Record<string, unknown> & { members: Record<string, unknown>[] };
  const changes: ((content: Content) => void)[] = [
    (content) => (content['mode'] = 'plaintext'),
    (content) => (content['epoch'] = 2),
    (content) => (content['clusterId'] = '00'.repeat(16)),
    (content) => (content['clusterPublicKey'] = Buffer.from(generateSigningKeyPair().publicKey).toString('hex')),
    (content) => (content.members[1]!['host'] = '127.0.0.2'),
    (content) => (content.members[1]!['port'] = 7500),
    (content) => (content.members[1]!['staticKey'] = '00'.repeat(32)),
    (content) => content.members.splice(1),
    (content) => (content['signature'] = '00'.repeat(64)),
  ];
  for (const change of changes) {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
    edit('cluster.json', (content) => {
      change(content as Content);
    });
    assert.match(
      failure(() => openAuthority(directory, client)),
      /cluster\.json was changed after the cluster key signed it/,
      String(change),
    );
  }
});

test('members out of order are refused even when they are signed', () => {
  const authority = openAuthority(directory, client);
  const { publicKey, secretKey } = clusterKey();
  const reversed = [...authority.configuration.members].reverse();
  const { clusterId, mode } = authority;
  writeConfiguration(
    directory,
    { clusterId, mode, epoch: 1, clusterPublicKey: publicKey, members: reversed },
    secretKey,
  );
  assert.match(
    failure(() => openAuthority(directory, client)),
    /members\[0\]\.index must be a whole number from 0 to 0/,
  );
});

test('a configuration signed by another key is refused, though its own signature fits', () => {
  const { clusterId, configuration } = openAuthority(directory, client);
  const attacker = generateSigningKeyPair();
  writeConfiguration(
    directory,
    { clusterId, mode: 'plaintext', ...configuration, clusterPublicKey: attacker.publicKey },
    attacker.secretKey,
  );
  for (const role of [client, replica(0)]) {
    assert.match(
      failure(() => openAuthority(directory, role)),
      /can't be used, the certificate's signature is not the cluster key's/,
    );
  }
});

test('files of two clusters do not mix', () => {
  const other = join(root, 'mixed');
  initClusterDirectory({ directory: other, members, mode: 'secure' });
  for (const [name, role] of [
    ['client.json', client],
    ['replica-1.json', replica(1)],
    ['data-key.json', client],
  ] as const) {
    initClusterDirectory({ directory, members, mode: 'secure', force: true });
    copyFileSync(join(other, name), join(directory, name));
    const message = failure(() => openAuthority(directory, role));
    assert(message.startsWith(join(directory, name)), message);
    assert.match(message, /is of cluster [0-9a-f]{8}, cluster\.json beside it is of [0-9a-f]{8}/);
  }
});

test("one role's file is not taken for another's", () => {
  copyFileSync(join(directory, 'replica-1.json'), join(directory, 'replica-0.json'));
  assert.match(
    failure(() => openAuthority(directory, replica(0))),
    /replica-0\.json holds the certificate of replica 1/,
  );
  copyFileSync(join(directory, 'client.json'), join(directory, 'replica-0.json'));
  assert.match(
    failure(() => openAuthority(directory, replica(0))),
    /replica-0\.json holds the certificate of a client/,
  );
  copyFileSync(join(directory, 'replica-1.json'), join(directory, 'client.json'));
  assert.match(
    failure(() => openAuthority(directory, client)),
    /client\.json holds the certificate of replica 1/,
  );
});

test('an expired certificate says when it expired', () => {
  const lastYear = Math.floor(nowSeconds()) - 400 * 24 * 60 * 60;
  initClusterDirectory({ directory, members, mode: 'secure', force: true, nowSeconds: lastYear });
  assert.match(
    failure(() => openAuthority(directory, client)),
    /client\.json can't be used, the certificate expired on \d{4}-/,
  );
});

test('secrets that others may read or change are refused, with the command that helps', {
  skip: process.platform === 'win32',
}, () => {
  for (const [name, role] of [
    ['replica-0.json', replica(0)],
    ['client.json', client],
    ['data-key.json', client],
  ] as const) {
    for (const mode of [0o640, 0o604, 0o620, 0o602]) {
      const path = join(directory, name);
      chmodSync(path, mode);
      assert.match(
        failure(() => openAuthority(directory, role)),
        new RegExp(`${name} holds keys and others may read or change it \\(mode ${mode.toString(8)}\\): chmod 600`),
      );
      chmodSync(path, 0o600);
      openAuthority(directory, role);
    }
  }
});
