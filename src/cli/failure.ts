import { CommanderError } from 'commander';
import { AvocadoError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';

/** How a command ends when it does not succeed: one line on stderr and an exit code. */
export const EXIT_FAILED = 1;
/** The input was wrong: arguments, files or ports. Running the same line again can't help. */
export const EXIT_WRONG_INPUT = 2;

const WRONG_INPUT_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'INVALID_KEY',
  'VALUE_TOO_LARGE',
  'CLUSTER_FILES',
  'PORT_IN_USE',
  'EVIDENCE_FILES',
]);

/** Thrown by a command whose failure has no stable error code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** @param message Says what to give instead. */
export function wrongInput(message: string): CommandFailure {
  return new CommandFailure(`error: ${message}`, EXIT_WRONG_INPUT);
}

export interface FailureReport {
  /** Empty when the command printed all there is to say. */
  readonly text: string;
  readonly exitCode: number;
}

export function reportFailure(error: unknown): FailureReport {
  if (error instanceof AvocadoError) {
    const exitCode = WRONG_INPUT_CODES.has(error.code) ? EXIT_WRONG_INPUT : EXIT_FAILED;
    return { text: `error ${error.code}: ${oneLine(error.message)}`, exitCode };
  }
  if (error instanceof CommandFailure) return { text: oneLine(error.message), exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    // commander ends --help and --version this way too, with exit code 0. It printed its line itself.
    return { text: '', exitCode: error.exitCode === 0 ? 0 : EXIT_WRONG_INPUT };
  }
  // What nobody foresaw is our mistake, and its stack is what a report of it needs.
  return { text: error instanceof Error ? (error.stack ?? error.message) : String(error), exitCode: EXIT_FAILED };
}

export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}
