import { basename, relative } from 'node:path';

/** How this process was called, so that commands shown to people can be copied as they are. */
export function ownCommandLine(): string {
  const script = process.argv[1] ?? 'avocado';
  if (basename(script) !== 'avocado') return `node ${relative(process.cwd(), script)}`;
  return script.includes('/node_modules/.bin/') ? 'npx avocado' : 'avocado';
}
