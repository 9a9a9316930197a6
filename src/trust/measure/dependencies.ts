import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unmeasurable } from './file-tree.ts';

/**
 * The packages that a program can load, found as Node finds them: each name in the nearest node_modules above who asks.
 * package.json says what is asked for; what lies in node_modules is what runs, so that is what is looked at, and not the
 * lock file, which says what ought to lie there.
 */
export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  /** With links resolved. */
  readonly directory: string;
  /** "name=version" of each package that it gets when it asks for the name. */
  readonly resolved: readonly string[];
}

interface Manifest {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly dependencies?: unknown;
  readonly optionalDependencies?: unknown;
  readonly peerDependencies?: unknown;
}

/**
 * @param packageRoot Where the program's package.json is.
 * @param codeDirectory From where the program asks.
 */
export function installedPackages(packageRoot: string, codeDirectory: string): readonly InstalledPackage[] {
  const found = new Map<string, InstalledPackage>();
  const visit = (owner: Manifest, from: string): string[] => {
    const resolved: string[] = [];
    for (const { name, isRequired } of asked(owner)) {
      const directory = resolvePackage(name, from);
      if (directory === undefined) {
        if (isRequired) throw unmeasurable(`package ${name} is not installed: npm ci`);
        continue;
      }
      const manifest = readManifest(directory);
      resolved.push(`${name}=${String(manifest.version)}`);
      if (found.has(directory)) continue;
      // Its place is taken first: packages may need each other.
      const entry = { name, version: String(manifest.version), directory, resolved: [] as string[] };
      found.set(directory, entry);
      entry.resolved.push(...visit(manifest, directory));
    }
    return resolved;
  };
  visit(readManifest(packageRoot), codeDirectory);
  return [...found.values()];
}

/** Optional ones and peers may be missing; npm lists optional ones among the others, too. */
function asked(manifest: Manifest): { name: string; isRequired: boolean }[] {
  const optional = new Set([...namesIn(manifest.optionalDependencies), ...namesIn(manifest.peerDependencies)]);
  const required = namesIn(manifest.dependencies).filter((name) => !optional.has(name));
  return [
    ...required.map((name) => ({ name, isRequired: true })),
    ...[...optional].map((name) => ({ name, isRequired: false })),
  ];
}

function namesIn(dependencies: unknown): string[] {
  return typeof dependencies === 'object' && dependencies !== null ? Object.keys(dependencies) : [];
}

function resolvePackage(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    const candidate = join(directory, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate);
    if (dirname(directory) === directory) return undefined;
  }
}

function readManifest(directory: string): Manifest {
  const path = join(directory, 'package.json');
  try {
    const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof manifest === 'object' && manifest !== null) return manifest;
  } catch (error) {
    throw unmeasurable(`${path} can't be read as JSON`, error);
  }
  throw unmeasurable(`${path} is no object`);
}
