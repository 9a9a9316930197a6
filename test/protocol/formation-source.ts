/**
 * The built Formation with its private fields opened, so that a model can copy it and compare its states, and with rules
 * of it left out on purpose. It is the product's own code, read from the built files.
 */
import { readFileSync } from 'node:fs';
import { compileFunction } from 'node:vm';
import { assert as assertState } from '../../net/assert.ts';
import type { Formation, FormationOptions } from '../../src/protocol/formation.ts';
import { instanceOf } from '../../src/protocol/instance.ts';
import { readState, sendState } from '../../src/protocol/state-message.ts';
import { substituted } from '../tooling/mutated-copy.ts';
import type { Substitution as FileSubstitution } from '../tooling/mutated-copy.ts';

export interface Substitution extends FileSubstitution {
  readonly file: 'formation' | 'vote';
}

export type FormationClass = new (options: FormationOptions) => Formation;

/** Where `#field` lies in an opened object. */
export const OPTIONS_FIELD = 'opened_options';
export const ANNOUNCED_FIELD = 'opened_announcedMs';
export const GONE_FIELD = 'opened_gone';

export function openedFormation(substitutions: readonly Substitution[] = []): FormationClass {
  const vote = evaluated('Vote', openedSource('vote', substitutions), {});
  const source = openedSource('formation', substitutions);
  const formation = evaluated('Formation', source, {
    assert: assertState,
    instanceOf,
    readState,
    sendState,
    Vote: vote,
  });
  return formation as FormationClass;
}

/** What a module exports under this name, with its imports handed in. */
function evaluated(name: string, source: string, imports: Readonly<Record<string, unknown>>): unknown {
  const make = compileFunction(`'use strict';\n${source}\nreturn ${name};`, Object.keys(imports)) as (
    ...values: unknown[]
  ) => unknown;
  return make(...Object.values(imports));
}

function openedSource(file: Substitution['file'], substitutions: readonly Substitution[]): string {
  let source = readFileSync(new URL(`../../src/protocol/${file}.js`, import.meta.url), 'utf8');
  for (const substitution of substitutions) {
    if (substitution.file === file) source = substituted(source, substitution);
  }
  return source
    .replace(/^import .*$/gm, '')
    .replace(/^export (?=class|function|const)/gm, '')
    .replace(/^\/\/# sourceMappingURL.*$/m, '')
    .replace(/#(?=[a-z])/g, 'opened_');
}
