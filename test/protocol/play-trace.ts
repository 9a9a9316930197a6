import { TraceWorld } from './trace-world.ts';

/** What comes of a step stands below it, indented. */
const INDENT = '    ';

/** A script with what comes of each of its steps now, in the place of what came when it was written. */
export function playTrace(script: string): string {
  const world = new TraceWorld();
  return script
    .split('\n')
    .filter((line) => !line.startsWith(INDENT))
    .flatMap((line) =>
      line === '' || line.startsWith('#') ? [line] : [line, ...world.step(line).map((said) => INDENT + said)],
    )
    .join('\n');
}
