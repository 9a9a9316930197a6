import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { measure } from '../../src/trust/measure/measure.ts';
import { measureOwnBuild } from '../../src/trust/measure/own-build.ts';

const DIRECTORY = mkdtempSync(join(tmpdir(), 'avocado-measure-'));
after(() => rmSync(DIRECTORY, { recursive: true, force: true }));

const FILES: Readonly<Record<string, string>> = {
  node: 'the binary',
  'app/package.json':
    '{"name":"app","version":"1.0.0","dependencies":{"b":"^1.0.0","a":"^2.0.0"},"devDependencies":{"d":"*"}}',
  'app/package-lock.json': '{}',
  'app/README.md': 'read me',
  'app/dist/bench/main.js': 'main',
  'app/dist/src/one.js': 'one',
  'app/dist/src/deep/two.js': 'two',
  'app/dist/test/one.test.js': 'test',
  'app/dist/.tsbuildinfo': 'compiler',
  'app/node_modules/a/package.json': '{"name":"a","version":"2.0.1","dependencies":{"c":"^1.0.0"}}',
  'app/node_modules/a/index.js': 'a',
  'app/node_modules/a/node_modules/c/package.json': '{"name":"c","version":"1.5.0"}',
  'app/node_modules/a/node_modules/c/index.js': 'inner c',
  'app/node_modules/b/package.json':
    '{"name":"b","version":"1.0.0","dependencies":{"@s/c":"^1.0.0"},"optionalDependencies":{"gone":"*"},"peerDependencies":{"a":"*"}}',
  'app/node_modules/b/lib/node_modules/x/index.js': 'found by lib alone',
  'app/node_modules/@s/c/package.json': '{"name":"@s/c","version":"1.0.0","dependencies":{"b":"^1.0.0"}}',
  'app/node_modules/@s/c/build/native.node': 'native',
  'app/node_modules/c/package.json': '{"name":"c","version":"1.6.0"}',
  'app/node_modules/d/package.json': '{"name":"d","version":"1.0.0"}',
};

let treeCount = 0;

function makeTree(files: readonly string[] = Object.keys(FILES)): string {
  const root = join(DIRECTORY, `tree-${treeCount++}`);
  for (const path of files) write(root, path, FILES[path]!);
  return root;
}

function write(root: string, path: string, content: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function hashOf(root: string): string {
  return measure({ packageRoot: join(root, 'app'), nodePath: join(root, 'node') }).hash;
}

const EXPECTED = hashOf(makeTree());

test('the measurement is the same wherever, whenever and in whatever order the files were made', () => {
  const tree = makeTree(Object.keys(FILES).reverse());
  for (const path of Object.keys(FILES)) utimesSync(join(tree, path), 1, 1);
  assert.equal(hashOf(tree), EXPECTED);
  renameSync(tree, `${tree}-elsewhere`);
  assert.equal(hashOf(`${tree}-elsewhere`), EXPECTED);
});

test('parts are node, the built files, the manifest, and each package that can be loaded', () => {
  const parts = measure({ packageRoot: join(makeTree(), 'app'), nodePath: process.execPath }).parts;
  assert.deepEqual(parts.map(({ name }) => name).sort(), [
    '@s/c@1.0.0',
    'a@2.0.1',
    'b@1.0.0',
    'c@1.5.0',
    'dist',
    'node',
    'package.json',
  ]);
});

/** Not what runs: other files of the project, tests, what the compiler left, packages that nothing in use asks for. */
const NOT_MEASURED: ReadonlySet<string> = new Set([
  'app/package-lock.json',
  'app/README.md',
  'app/dist/test/one.test.js',
  'app/dist/.tsbuildinfo',
  'app/node_modules/c/package.json',
  'app/node_modules/d/package.json',
]);

test('a change of any file that can be loaded changes it, and of no other', () => {
  for (const [path, content] of Object.entries(FILES)) {
    const tree = makeTree();
    write(tree, path, `${content}\n`);
    assert.equal(hashOf(tree) === EXPECTED, NOT_MEASURED.has(path), path);
  }
});

test('a file more, a file less, or one by another name changes it', () => {
  for (const path of ['app/dist/src/zzz.js', 'app/node_modules/a/added.js', 'app/dist/node_modules/a/package.json']) {
    const tree = makeTree();
    write(tree, path, '{}');
    assert.notEqual(hashOf(tree), EXPECTED, path);
  }
  const less = makeTree();
  rmSync(join(less, 'app/dist/src/deep/two.js'));
  assert.notEqual(hashOf(less), EXPECTED);
  const renamed = makeTree();
  renameSync(join(renamed, 'app/dist/src/one.js'), join(renamed, 'app/dist/src/three.js'));
  assert.notEqual(hashOf(renamed), EXPECTED);
  const swapped = makeTree();
  write(swapped, 'app/dist/src/one.js', 'two');
  write(swapped, 'app/dist/src/deep/two.js', 'one');
  assert.notEqual(hashOf(swapped), EXPECTED);
});

test('which copy of a package is found where it is asked for counts', () => {
  // a asks for c, and now gets the other one.
  const hoisted = makeTree();
  rmSync(join(hoisted, 'app/node_modules/a/node_modules'), { recursive: true });
  assert.notEqual(hashOf(hoisted), EXPECTED);
  // What lies nearer to the code comes first.
  const shadowed = makeTree();
  cpSync(join(shadowed, 'app/node_modules/a'), join(shadowed, 'app/dist/node_modules/a'), { recursive: true });
  writeFileSync(join(shadowed, 'app/dist/node_modules/a/index.js'), 'another a');
  assert.notEqual(hashOf(shadowed), EXPECTED);
});

test('what can not be measured is an error, not left out', () => {
  const problem = (change: (app: string) => void, message: RegExp): void => {
    const tree = makeTree();
    change(join(tree, 'app'));
    assert.throws(() => hashOf(tree), { code: 'INVALID_ARGUMENT', message });
  };
  problem((app) => symlinkSync('/etc/hostname', join(app, 'dist/src/link.js')), /link\.js is a link or no file/);
  problem((app) => symlinkSync('..', join(app, 'node_modules/a/link')), /a\/link is a link/);
  problem((app) => rmSync(join(app, 'dist'), { recursive: true }), /dist can't be read \(ENOENT\)/);
  problem((app) => rmSync(join(app, 'node_modules/b'), { recursive: true }), /package b is not installed: npm ci/);
  problem((app) => writeFileSync(join(app, 'package.json'), '{'), /package\.json can't be read as JSON/);
});

test('a package that is linked is measured where it really is', () => {
  const tree = makeTree();
  renameSync(join(tree, 'app/node_modules/@s/c'), join(tree, 'app/node_modules/@s/moved'));
  symlinkSync('moved', join(tree, 'app/node_modules/@s/c'));
  assert.equal(hashOf(tree), EXPECTED);
});

test('this build is measured with its own node and all that it loads', () => {
  const { hash, parts } = measureOwnBuild();
  assert.match(hash, /^[0-9a-f]{96}$/);
  const names = parts.map(({ name }) => name.replace(/(?<=.)@.*/, ''));
  for (const name of ['node', 'dist', 'package.json', 'sodium-native', 'commander', 'zod']) {
    assert.ok(names.includes(name), name);
  }
  assert.equal(measureOwnBuild().hash, hash);
  const paths = parts.find(({ name }) => name === 'dist')!.files.map(({ path }) => path);
  assert.ok(paths.includes('src/trust/measure/measure.js'));
  assert.ok(!paths.some((path) => path.startsWith('test/')));
});
