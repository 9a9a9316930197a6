import { appendFileSync, cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE_ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A build of its own elsewhere on this machine, with the same content, of which a byte can be changed for a while. */
export class BuildCopy {
  readonly #directory: string;

  /** @param dependency The one of its packages that is a copy, too, so that it can be changed; the others are links. */
  constructor(directory: string, dependency: string) {
    this.#directory = directory;
    mkdirSync(join(directory, 'node_modules'), { recursive: true });
    cpSync(join(PACKAGE_ROOT, 'package.json'), join(directory, 'package.json'));
    const tests = join(PACKAGE_ROOT, 'dist', 'test');
    cpSync(join(PACKAGE_ROOT, 'dist'), join(directory, 'dist'), { recursive: true, filter: (path) => path !== tests });
    for (const name of readdirSync(join(PACKAGE_ROOT, 'node_modules'))) {
      const [from, to] = [join(PACKAGE_ROOT, 'node_modules', name), join(directory, 'node_modules', name)];
      if (name === dependency) cpSync(from, to, { recursive: true });
      else symlinkSync(from, to);
    }
  }

  get main(): string {
    return join(this.#directory, 'dist/bench/avocado.js');
  }

  /** With one byte more in a file, which changes nothing of what it does. */
  async changed<T>(file: string, use: () => Promise<T>): Promise<T> {
    const path = join(this.#directory, file);
    const content = readFileSync(path);
    appendFileSync(path, '\n');
    try {
      return await use();
    } finally {
      writeFileSync(path, content);
    }
  }
}
