/**
 * Checks that imports run one way through the layers, and that each library which must stay replaceable is imported where
 * it is wrapped and nowhere else. Types count like values: a layer that names a type of a higher one depends on it.
 * Run as a program it checks the sources of the project.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findImports } from './tooling/import-scan.ts';

/** Lowest first. A layer imports from itself and from those before it. */
const LAYERS = ['net', 'workers', 'src', 'bench', 'test'];

/** The public API under its published name counts as this layer; the layer itself imports its own files. */
const SELF = { name: 'avocado-kv', layer: 'src' };

/** Who may import what. A package that isn't listed may not be imported at all; other built-in modules are free. */
const IMPORTERS: Readonly<Record<string, readonly string[]>> = {
  'node:dgram': ['net/udp.ts'],
  'sodium-native': ['workers/sodium.ts'],
  'noise-handshake': ['workers/noise.ts'],
  piscina: ['workers/worker-pool.ts'],
  'hdr-histogram-js': ['bench/histogram.ts'],
  commander: ['src/cli/', 'bench/', 'test/cluster/sim.ts'],
  zod: ['src/trust/'],
  '@peculiar/asn1-schema': ['src/trust/evidence/x509.ts', 'workers/tls-identity.ts', 'test/trust/'],
  '@peculiar/asn1-x509': ['src/trust/evidence/x509.ts', 'workers/tls-identity.ts', 'test/trust/'],
  'shamir-secret-sharing': ['workers/secret-shares.ts'],
  asn1js: ['src/trust/evidence/x509.ts', 'test/trust/'],
  '@phala/dcap-qvl': ['src/trust/evidence/dcap-library.ts'],
  'fast-check': ['test/'],
};

export interface Violation {
  file: string;
  line: number;
  message: string;
}

/** Checks sources given by their path from the project's root, with forward slashes. */
export function checkSources(sources: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  for (const [file, source] of sources) {
    for (const { specifier, line } of findImports(source)) {
      const message =
        specifier === undefined ? 'the module is computed: name it, or load it as a process' : judge(file, specifier);
      if (message !== undefined) violations.push({ file, line, message });
    }
  }
  return violations;
}

function judge(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.'))
    return judgeLayer(file, layerOf(posix.join(posix.dirname(file), specifier)), specifier);
  const name = packageName(specifier);
  if (name === SELF.name) {
    if (layerOf(file) === SELF.layer) return `${SELF.layer}/ imports its own files, not '${specifier}'`;
    return judgeLayer(file, SELF.layer, specifier);
  }
  const allowed = Object.hasOwn(IMPORTERS, name) ? IMPORTERS[name]! : undefined;
  if (allowed === undefined) {
    return isBuiltin(specifier) ? undefined : `'${specifier}' is not among the packages listed in test/layers.ts`;
  }
  if (allowed.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))) return undefined;
  return `'${specifier}' may be imported only by ${allowed.join(' and ') || 'nobody yet'}`;
}

function judgeLayer(file: string, target: string | undefined, specifier: string): string | undefined {
  if (target === undefined) return `'${specifier}' lies outside the layers ${LAYERS.join(', ')}`;
  const own = layerOf(file);
  if (own === undefined) return `the file itself lies outside the layers ${LAYERS.join(', ')}`;
  if (LAYERS.indexOf(target) <= LAYERS.indexOf(own)) return undefined;
  return `${own}/ may not import from ${target}/ ('${specifier}'): imports run ${LAYERS.join(' <- ')}`;
}

function layerOf(path: string): string | undefined {
  return LAYERS.find((layer) => path.startsWith(`${layer}/`));
}

/** 'node:' is added to built-in modules, and paths inside a package are cut off, so that no spelling gets past a rule. */
function packageName(specifier: string): string {
  if (isBuiltin(specifier)) return specifier.startsWith('node:') ? specifier : `node:${specifier}`;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function readSources(projectDir: string): Map<string, string> {
  const sources = new Map<string, string>();
  for (const layer of LAYERS) {
    const layerDir = join(projectDir, layer);
    if (!existsSync(layerDir)) continue;
    for (const path of readdirSync(layerDir, { recursive: true, encoding: 'utf8' }).sort()) {
      if (!/\.[cm]?tsx?$/.test(path)) continue;
      sources.set(`${layer}/${path.split(sep).join('/')}`, readFileSync(join(layerDir, path), 'utf8'));
    }
  }
  return sources;
}

function main(): void {
  const sources = readSources(process.cwd());
  const violations = checkSources(sources);
  for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`);
  if (sources.size === 0) console.error('layers: no sources found here: run it in the root of the project');
  else if (violations.length === 0)
    console.log(`layers: ${sources.size} files, every import runs ${LAYERS.join(' <- ')}`);
  process.exitCode = sources.size > 0 && violations.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
