/** Histories with read-modify-writes and versions, written down or drawn, and an oracle that tries every order. */
import type { Expected, Operation, ReadModifyWrite } from '../../bench/checker/operation.ts';
import { isPlain } from '../../bench/checker/operation.ts';
import { NEVER } from './histories.ts';

type Result = ReadModifyWrite['result'];
/** What is known of an operation beside what it asked for. */
type Known = Partial<Pick<ReadModifyWrite, 'version' | 'found'>>;

export function cas(
  expected: Expected,
  value: string,
  result: Result,
  start: number,
  end: number,
  known: Known = {},
): Operation {
  return { kind: 'cas', key: 'k', expected, value, result, start, end: result === 'unknown' ? NEVER : end, ...known };
}

export function delif(expected: Expected, result: Result, start: number, end: number, known: Known = {}): Operation {
  const openEnd = result === 'unknown' ? NEVER : end;
  return { kind: 'delif', key: 'k', expected, value: undefined, result, start, end: openEnd, ...known };
}

/** @param found Undefined: unknown outcome. */
export function getset(value: string, found: string | null | undefined, start: number, end: number): Operation {
  return found === undefined
    ? { kind: 'getset', key: 'k', value, result: 'unknown', start, end: NEVER }
    : { kind: 'getset', key: 'k', value, found, result: 'ok', start, end };
}

/** @param sum 'mismatch', or undefined: unknown outcome. */
export function incr(delta: bigint, sum: string | undefined, start: number, end: number, known: Known = {}): Operation {
  const common = { kind: 'incr', key: 'k', delta, start, ...known } as const;
  if (sum === undefined) return { ...common, result: 'unknown', value: undefined, end: NEVER };
  if (sum === 'mismatch') return { ...common, result: 'mismatch', value: undefined, end };
  return { ...common, result: 'ok', value: sum, end };
}

export function withVersion(operation: Operation, version: string): Operation {
  return { ...operation, version };
}

interface World {
  readonly value: string | null;
  /** Which state of the key this is, counted. */
  readonly state: number;
  /** Version -> the state that it names, as far as anybody has said so. */
  readonly names: ReadonlyMap<string, number>;
}

const START: World = { value: null, state: 0, names: new Map() };

/** Every order that respects time, and every choice of what operations of unknown outcome did. */
export function fitsSomeMixedOrder(left: readonly Operation[], world: World = START): boolean {
  const firstEnd = Math.min(...left.map(({ end }) => end));
  if (firstEnd === Infinity) return true;
  return left.some((operation) => {
    if (operation.start > firstEnd) return false;
    const after = effectOf(operation, world);
    const rest = left.filter((other) => other !== operation);
    return after !== undefined && fitsSomeMixedOrder(rest, after);
  });
}

/** Deliberately plain: what each kind does, said once more. */
function effectOf(operation: Operation, world: World): World | undefined {
  if (!isPlain(operation)) return rmwEffect(operation, world);
  const { value, version } = operation;
  switch (operation.kind) {
    case 'get':
      return (value ?? null) === world.value ? named(world, version) : undefined;
    case 'put':
      return written(world, value!, version);
    case 'delete':
      return written(world, null, version);
  }
}

function rmwEffect(operation: ReadModifyWrite, world: World): World | undefined {
  const { kind, result, found, version, expected, delta, value } = operation;
  if (found !== undefined && found !== world.value) return undefined;
  let met: World | undefined = world;
  if (expected !== undefined) {
    if ('version' in expected) met = named(world, expected.version);
    else met = world.value === ('absent' in expected ? null : expected.value) ? world : undefined;
  }
  const number = world.value === null ? 0n : /^-?\d+$/.test(world.value) ? BigInt(world.value) : undefined;
  const total = number === undefined ? undefined : number + (delta ?? 0n);
  const sum = total === undefined || BigInt.asIntN(64, total) !== total ? undefined : String(total);
  if (kind === 'incr' && sum === undefined) met = undefined;
  if (result === 'mismatch') {
    if (expected !== undefined && 'version' in expected) {
      const after = named(world, version);
      return after?.names.get(expected.version) === after?.state ? undefined : after;
    }
    return met === undefined ? named(world, version) : undefined;
  }
  // Of unknown outcome: it may have found its condition wanting, which is as if it had not been.
  if (met === undefined) return undefined;
  if (kind === 'incr' && result === 'ok' && sum !== value) return undefined;
  return written(met, kind === 'incr' ? sum! : kind === 'delif' ? null : value!, version);
}

function named(world: World, version: string | undefined): World | undefined {
  if (version === undefined) return world;
  const state = world.names.get(version);
  if (state !== undefined) return state === world.state ? world : undefined;
  if ([...world.names.values()].includes(world.state)) return undefined;
  return { ...world, names: new Map([...world.names, [version, world.state]]) };
}

function written(world: World, value: string | null, version: string | undefined): World | undefined {
  return named({ value, state: world.state + 1, names: world.names }, version);
}

export interface MixedDrawing {
  readonly operationCountMax: number;
  /** Of operations whose version is known. */
  readonly versionShare: number;
}

/**
 * Whatever some order gives, and sometimes one answer falsified. Operations are done one after the other at instants, and
 * said to have started before and ended after.
 */
export function randomMixedHistory(random: () => number, drawing: MixedDrawing): Operation[] {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const count = 2 + Math.floor(random() * (drawing.operationCountMax - 1));
  const values = ['a', 'b', '1', '2'];
  let value: string | null = null;
  let state = 0;
  const history: Operation[] = [];
  const write = (next: string | null): void => {
    value = next;
    state++;
  };
  for (let i = 0; i < count; i++) {
    const start = 4 * i - Math.floor(random() * 12);
    const end = 4 * i + 1 + Math.floor(random() * 12);
    const isUnknown = random() < 0.25;
    const before: string | null = value;
    const stateBefore = state;
    const isDone = !isUnknown || random() < 0.5;
    const expected = pick<Expected>([
      { value: pick(values) },
      { value: before ?? 'a' },
      { absent: true },
      { version: `v${Math.max(0, state - Math.floor(random() * 2))}` },
    ]);
    const isMet =
      'version' in expected
        ? expected.version === `v${state}`
        : before === ('absent' in expected ? null : expected.value);
    const next = pick(values);
    const drawn = pick(['get', 'get', 'put', 'delete', 'cas', 'cas', 'delif', 'getset', 'incr', 'incr'] as const);
    const isInteger = before === null || /^\d+$/.test(before);
    const doesWrite = drawn === 'cas' || drawn === 'delif' ? isMet : drawn === 'incr' ? isInteger : drawn !== 'get';
    if (doesWrite && isDone) {
      write(
        drawn === 'incr' ? String(BigInt(before ?? '0') + 1n) : drawn === 'delete' || drawn === 'delif' ? null : next,
      );
    }
    const known = random() < drawing.versionShare ? { version: `v${state}` } : {};
    const found = random() < 0.5 ? { found: before } : {};
    const result: Result = isUnknown ? 'unknown' : doesWrite ? 'ok' : 'mismatch';
    const openEnd = isUnknown ? NEVER : end;
    const mismatchOfVersion = result === 'mismatch' && 'version' in expected ? { version: `v${stateBefore}` } : {};
    const learnt = isUnknown ? {} : result === 'mismatch' ? { ...found, ...known, ...mismatchOfVersion } : known;
    switch (drawn) {
      case 'get':
        history.push({ kind: 'get', key: 'k', value: before ?? undefined, start, end, ...known });
        break;
      case 'put':
        history.push({ kind: 'put', key: 'k', value: next, start, end: openEnd, ...(isUnknown ? {} : known) });
        break;
      case 'delete':
        history.push({ kind: 'delete', key: 'k', value: undefined, start, end: openEnd, ...(isUnknown ? {} : known) });
        break;
      case 'cas':
        history.push(cas(expected, next, result, start, end, learnt));
        break;
      case 'delif':
        history.push(delif(expected, result, start, end, learnt));
        break;
      case 'getset':
        history.push({ ...getset(next, isUnknown ? undefined : before, start, end), ...(isUnknown ? {} : known) });
        break;
      case 'incr':
        history.push(
          incr(1n, isUnknown ? undefined : doesWrite ? (value ?? undefined) : 'mismatch', start, end, learnt),
        );
        break;
    }
  }
  return random() < 0.5 ? history : falsified(history, random);
}

/** One thing that somebody learnt is altered. */
function falsified(history: readonly Operation[], random: () => number): Operation[] {
  const at = Math.floor(random() * history.length);
  const one = history[at]!;
  const way = random();
  let altered: Operation = one;
  if (way < 0.3 && one.version !== undefined) altered = { ...one, version: `v${Math.floor(random() * 5)}` };
  else if (way < 0.5) altered = { ...one, start: one.start + 8, end: one.end + 8 };
  else if (one.kind === 'get') altered = { ...one, value: random() < 0.3 ? undefined : 'a' };
  else if (!isPlain(one) && one.found !== undefined) altered = { ...one, found: random() < 0.3 ? null : '1' };
  else if (one.kind === 'incr' && one.result === 'ok') altered = { ...one, value: random() < 0.5 ? '1' : '2' };
  return history.map((operation, i) => (i === at ? altered : operation));
}
