import { InvalidArgumentError } from 'commander';
import { AvocadoError } from '../errors.ts';
import { parseGrants } from '../trust/grant-text.ts';
import type { Grant } from '../trust/grants.ts';

/** Grants as an option's value. */
export function grantsOf(text: string): Grant[] {
  try {
    return parseGrants(text);
  } catch (error) {
    if (error instanceof AvocadoError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}
