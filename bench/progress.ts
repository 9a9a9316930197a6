/**
 * What a person sees while the bench works: one line on stderr that is rewritten, or a line a second where stderr is no
 * terminal. Results never go here.
 */
export interface Progress {
  /** Replaces what update() showed last. */
  update(text: string): void;
  /** A line that stays. */
  note(text: string): void;
  /** Removes the line that update() left. */
  clear(): void;
}

interface Output {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** ECMA-48: carriage return, erase to the end of the line. */
const ERASE_LINE = '\r\u001b[K';

export function createProgress(output: Output, quiet: boolean): Progress {
  const isTerminal = output.isTTY === true;
  const write = (text: string): void => {
    if (!quiet) output.write(text);
  };
  const erase = isTerminal ? ERASE_LINE : '';
  return {
    update: (text) => write(isTerminal ? `${erase}${text}` : `${text}\n`),
    note: (text) => write(`${erase}${text}\n`),
    clear: () => write(erase),
  };
}
