import { Option } from 'commander';
import type { ConditionalResult, Expected } from '../index.ts';
import { describeValue, showValue } from './describe-value.ts';
import { CommandFailure, EXIT_FAILED } from './failure.ts';

/** Conditions of put and delete: read alike, and alike told when they did not hold. */
export interface ConditionOptions {
  readonly ifValue?: string;
  readonly ifVersion?: string;
  readonly ifAbsent?: boolean;
}

const NAMES = ['ifValue', 'ifVersion', 'ifAbsent'] as const;

export function ifValueOption(): Option {
  return conflicting(new Option('--if-value <value>', 'only if the key has this value'), 'ifValue');
}

export function ifVersionOption(): Option {
  return conflicting(
    new Option('--if-version <version>', 'only if nobody wrote since `get --with-version` printed this'),
    'ifVersion',
  );
}

export function ifAbsentOption(): Option {
  return conflicting(new Option('--if-absent', 'only if the key has no value'), 'ifAbsent');
}

function conflicting(option: Option, own: (typeof NAMES)[number]): Option {
  return option.conflicts(NAMES.filter((name) => name !== own));
}

/** Undefined: unconditionally. */
export function expectedOf({ ifValue, ifVersion, ifAbsent }: ConditionOptions): Expected | undefined {
  if (ifValue !== undefined) return { value: ifValue };
  if (ifVersion !== undefined) return { version: ifVersion };
  return ifAbsent === true ? { absent: true } : undefined;
}

/** Nothing was changed: what was found is told, and the exit code is 1. */
export function assertHeld(key: string, done: string, result: ConditionalResult, json: boolean): void {
  if (result.ok) return;
  const { value, version } = result;
  if (json) process.stdout.write(`${JSON.stringify({ key, [done]: false, ...describeValue(value), version })}\n`);
  throw new CommandFailure(`not ${done}: ${key}: ${showValue(value)}, version ${version}`, EXIT_FAILED);
}
