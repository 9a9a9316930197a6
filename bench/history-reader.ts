import { createReadStream } from 'node:fs';
import { CommandFailure, wrongInput } from '../src/cli/failure.ts';
import type { Operation } from './checker/operation.ts';
import { operationOf, problemOf, shorten } from './history-fields.ts';
import type { Fields, RawFields } from './history-fields.ts';

/** Reads histories, as history.ts describes them, for the check. */
export interface History {
  /** What the check has to explain. */
  readonly operations: readonly Operation[];
  /** Puts that ended with an error and so certainly had no effect. */
  readonly failedPuts: readonly Operation[];
  readonly counts: HistoryCounts;
}

export interface HistoryCounts {
  readonly operations: number;
  readonly processes: number;
  readonly unknown: number;
  readonly errors: number;
}

/** Standard input, as a path. */
export const STDIN = '-';

/** One operation takes some 200 bytes of heap; so many fit into node's usual 4 GiB. */
const OPERATIONS_MAX = 10_000_000;
/** A line is an id and some numbers; a key of 1 KiB escaped to \u0000 takes 6 KiB. Also holds whole values of 1 MiB. */
const LINE_BYTES_MAX = 8 * 1024 * 1024;
const NEWLINE = 0x0a;

const EXAMPLE = '{"process":0,"op":"put","key":"k","value":"v","start":1200,"end":98000,"outcome":"ok"}';

/**
 * All files together are one history.
 *
 * @param onProgress After each piece that was read.
 * @throws CommandFailure that names the file and the line.
 */
export async function readHistory(
  paths: readonly string[],
  onProgress: (operationCount: number) => void,
): Promise<History> {
  const gathered = new GatheredHistory();
  for (const path of paths) {
    const name = path === STDIN ? 'standard input' : path;
    const before = gathered.operationCount;
    const stream = path === STDIN ? process.stdin : createReadStream(path, { highWaterMark: 1024 * 1024 });
    try {
      await readLines(stream, name, gathered, onProgress);
    } catch (error) {
      if (error instanceof CommandFailure) throw error;
      const { code = String(error) } = error as NodeJS.ErrnoException;
      throw wrongInput(`${name} can't be read (${code}): give a file that avocado bench --history wrote`);
    }
    if (gathered.operationCount === before) {
      throw wrongInput(`${name} holds no operations: give a file that avocado bench --history wrote`);
    }
  }
  return gathered.history();
}

async function readLines(
  stream: AsyncIterable<unknown>,
  name: string,
  gathered: GatheredHistory,
  onProgress: (operationCount: number) => void,
): Promise<void> {
  let lineNumber = 0;
  /** Of a line whose end has not come yet. */
  let pieces: Buffer[] = [];
  let pieceBytes = 0;
  const endLine = (last: Buffer): void => {
    const bytes = pieces.length === 0 ? last : Buffer.concat([...pieces, last]);
    pieces = [];
    pieceBytes = 0;
    lineNumber++;
    const problem = gathered.add(bytes.toString('utf8'));
    if (problem !== undefined) throw wrongInput(`${name} line ${lineNumber}: ${problem}; a line looks like ${EXAMPLE}`);
  };
  for await (const chunk of stream) {
    const bytes = chunk as Buffer;
    let from = 0;
    for (let to = bytes.indexOf(NEWLINE); to >= 0; to = bytes.indexOf(NEWLINE, from)) {
      endLine(bytes.subarray(from, to));
      from = to + 1;
    }
    if (from < bytes.length) pieces.push(bytes.subarray(from));
    pieceBytes += bytes.length - from;
    if (pieceBytes > LINE_BYTES_MAX) {
      throw wrongInput(`${name} line ${lineNumber + 1} is over ${LINE_BYTES_MAX} bytes: a line is one operation`);
    }
    onProgress(gathered.operationCount);
  }
  if (pieceBytes > 0) endLine(Buffer.alloc(0));
}

class GatheredHistory {
  operationCount = 0;
  #unknown = 0;
  #errors = 0;
  readonly #operations: Operation[] = [];
  readonly #failedPuts: Operation[] = [];
  readonly #processes = new Set<number>();
  /** One copy of each key. */
  readonly #keys = new Map<string, string>();

  /** What is wrong with the line, if anything. Empty lines are nothing. */
  add(line: string): string | undefined {
    if (line.trim() === '') return undefined;
    const fields = parseObject(line);
    if (typeof fields === 'string') return fields;
    const problem = problemOf(fields);
    if (problem !== undefined) return problem;
    const valid = fields as unknown as Fields;
    if (++this.operationCount > OPERATIONS_MAX) {
      throw wrongInput(`there are more than ${OPERATIONS_MAX} operations: check a shorter run`);
    }
    this.#processes.add(valid.process);
    if (valid.outcome === 'unknown') this.#unknown++;
    if (valid.outcome === 'error') this.#errors++;
    const operation = operationOf(valid, this.#copyOf(valid.key));
    if (operation === undefined) return undefined;
    (valid.outcome === 'error' ? this.#failedPuts : this.#operations).push(operation);
    return undefined;
  }

  history(): History {
    return {
      operations: this.#operations,
      failedPuts: this.#failedPuts,
      counts: {
        operations: this.operationCount,
        processes: this.#processes.size,
        unknown: this.#unknown,
        errors: this.#errors,
      },
    };
  }

  #copyOf(key: string): string {
    const copy = this.#keys.get(key);
    if (copy === undefined) this.#keys.set(key, key);
    return copy ?? key;
  }
}

function parseObject(line: string): RawFields | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return `not JSON, or cut off: ${shorten(line)}`;
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed;
  return `not a JSON object: ${shorten(line)}`;
}
