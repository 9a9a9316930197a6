/** The layer check against sources that break the rules, plainly and in disguise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSources } from '../layers.ts';

function check(file: string, source: string): string[] {
  return checkSources(new Map([[file, source]])).map((found) => `${found.file}:${found.line}`);
}

function accepts(file: string, source: string): void {
  assert.deepEqual(check(file, source), [], `${file} should be accepted: ${source}`);
}

function refuses(file: string, source: string, line = 1): void {
  assert.deepEqual(check(file, source), [`${file}:${line}`], `${file} should be refused once: ${source}`);
}

test('every layer may import from itself and from those below', () => {
  const layers = ['net', 'workers', 'src', 'bench', 'test'];
  for (const [rank, layer] of layers.entries()) {
    for (const [targetRank, target] of layers.entries()) {
      const source = `import { x } from '../${target}/x.ts';`;
      if (targetRank <= rank) accepts(`${layer}/a.ts`, source);
      else refuses(`${layer}/a.ts`, source);
    }
  }
});

test('a path is judged by where it ends, not by how it is written', () => {
  refuses('src/client/a.ts', "import { x } from '../../bench/x.ts';");
  refuses('net/a.ts', "import { x } from './../src/x.ts';");
  refuses('net/src/a.ts', "import { x } from './../../workers/x.ts';");
  accepts('net/src/a.ts', "import { x } from '../net/x.ts';");
  accepts('src/bench/a.ts', "import { x } from '../test/x.ts';");
  refuses('src/a.ts', "import p from '../package.json' with { type: 'json' };");
  refuses('src/a.ts', "import { x } from '../../src/x.ts';");
});

test('every shape of import is seen', () => {
  for (const source of [
    "import x from '../src/x.ts';",
    'import x from "../src/x.ts";',
    "import{x}from'../src/x.ts';",
    "import x,{y}from'../src/x.ts';",
    "import * as x from '../src/x.ts';",
    "import*as x from'../src/x.ts';",
    "import { 'a b' as x } from '../src/x.ts';",
    "import{größe}from'../src/x.ts';",
    "import type { X } from '../src/x.ts';",
    "import type X from '../src/x.ts';",
    "import { type X } from '../src/x.ts';",
    "import { from } from '../src/x.ts';",
    "import {} from '../src/x.ts';",
    "import '../src/x.ts';",
    "import'../src/x.ts';",
    "export { x } from '../src/x.ts';",
    "export{x}from'../src/x.ts';",
    "export type { X } from '../src/x.ts';",
    "export * from '../src/x.ts';",
    "export*from'../src/x.ts';",
    "export * as x from '../src/x.ts';",
    "export type * from '../src/x.ts';",
    "const x = await import('../src/x.ts');",
    "const x = await import( /* why */ '../src/x.ts' );",
    "type X = import('../src/x.ts').X;",
    "const x = require('../src/x.ts');",
    "import x = require('../src/x.ts');",
    "const s = 'a'; import { x } /* from */ from /* here */ '../src/x.ts';",
    "const r = /['`]/; import { x } from '../src/x.ts';",
    'const t = `${`${1}`}`; const x = await import("../src/x.ts");',
    'const t = `${await import("../src/x.ts")}`;',
    'const t = `${{ a: { b: 1 } }.a.b} it\'s`; import x from "../src/x.ts";',
    "const half = (1 + 1) / 2; import { x } from '../src/x.ts'; // half /",
    "const s = 'it\\'s'; import { x } from '../src/x.ts';",
  ]) {
    refuses('net/a.ts', source);
  }
});

test('the line is that of the specifier', () => {
  refuses('net/a.ts', "/* one\n two */\nimport {\n  a,\n  b,\n} from '../src/x.ts';", 6);
});

test('what only looks like an import is let through', () => {
  accepts('net/a.ts', "// import { x } from '../src/x.ts';");
  accepts('net/a.ts', "/* import { x } from '../src/x.ts'; */");
  accepts('net/a.ts', '/** @example\n * import { x } from "../src/x.ts";\n */');
  accepts('net/a.ts', `const s = "import { x } from '../src/x.ts'";`);
  accepts('net/a.ts', "const s = `import { x } from '../src/x.ts' ${1} import('../src/y.ts')`;");
  accepts('net/a.ts', "const r = /import '..\\/src'/;");
  accepts('net/a.ts', "const url = import.meta.url; const from = 'src'; table.import('../src/x.ts');");
  accepts('net/a.ts', "export const a = { from: '../src/x.ts' }; export { a };\nconst from = ['../src/x.ts'];");
});

test('a computed import is refused, since nobody can tell where it leads', () => {
  refuses('test/a.ts', 'const x = await import(path);');
  refuses('test/a.ts', 'const x = await import(`../src/${name}.ts`);');
});

test('a wrapped library is imported by its wrapper only', () => {
  const wrapped: [string, string][] = [
    ['node:dgram', 'net/udp.ts'],
    ['sodium-native', 'workers/sodium.ts'],
    ['noise-handshake', 'workers/noise.ts'],
    ['hdr-histogram-js', 'bench/histogram.ts'],
    ['commander', 'src/cli/program.ts'],
    ['commander', 'bench/avocado.ts'],
    ['fast-check', 'test/net/ring.test.ts'],
  ];
  for (const [name, wrapper] of wrapped) {
    accepts(wrapper, `import x from '${name}';`);
    refuses('src/client/a.ts', `import x from '${name}';`);
    refuses('src/client/a.ts', `import type { X } from '${name}';`);
    refuses('src/client/a.ts', `const x = await import('${name}');`);
  }
  for (const [name, wrapper] of wrapped.slice(0, 4)) refuses('test/a.ts', `import '${name}'; // not ${wrapper}`);
});

test('no other spelling of a wrapped library gets past', () => {
  refuses('src/a.ts', "import dgram from 'dgram';");
  refuses('workers/udp.ts', "import dgram from 'node:dgram';");
  refuses('src/a.ts', "import noise from 'noise-handshake/cipher.js';");
  refuses('src/net/udp.ts', "import dgram from 'node:dgram';");
});

test('a package that nobody may import, or that is not listed, is refused', () => {
  refuses('workers/pool.ts', "import { Piscina } from 'piscina';");
  refuses('src/a.ts', "import b4a from 'b4a';");
  refuses('src/a.ts', "import x from '@scope/name/deep.js';");
  refuses('src/a.ts', "import x from 'constructor';");
});

test('other built-in modules are free', () => {
  accepts('src/a.ts', "import { readFileSync } from 'node:fs';\nimport { readFile } from 'fs/promises';");
});

test('the published name counts as src', () => {
  accepts('test/a.ts', "import { connect } from 'avocado-kv';");
  accepts('bench/a.ts', "import { connect } from 'avocado-kv';");
  refuses('net/a.ts', "import { connect } from 'avocado-kv';");
  refuses('workers/a.ts', "import { connect } from 'avocado-kv';");
  refuses('src/a.ts', "import { connect } from 'avocado-kv';");
});
