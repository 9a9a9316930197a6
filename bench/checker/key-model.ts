import { sumOf } from './integers.ts';
import type { Model } from './model.ts';
import type { Expected, Operation, ReadModifyWrite } from './operation.ts';
import { isPlain, isRead } from './operation.ts';

/** One key with its version, as plain operations and read-modify-writes see it. */
export interface KeyState {
  /** Null: absent, as every key is at first. */
  readonly value: string | null;
  /** Undefined: nobody who has had his place so far knows it. */
  readonly version: string | undefined;
  /**
   * How many operations name this version and have no place yet. It comes about once, so all of them must have theirs before
   * the state ends. Follows from what is placed, so it is no part of the state's identity.
   */
  readonly namedBy: number;
  /** A write of unknown outcome made it, and nobody has looked at it since. */
  readonly isUnseen: boolean;
}

/**
 * The model of one key for the search.
 *
 * A write whose version is not known (its outcome is unknown, or nobody asked for it) has one all the same, and the first
 * that reads there tells it. An operation of unknown outcome is only placed where it takes effect: where it doesn't, it need
 * not be placed. Nor need it where the next write comes without a look at what it made: an order without it is as good.
 *
 * @param operations All that the key's versions are named by.
 */
export function keyModelOf(operations: readonly Operation[]): Model<KeyState, Operation> {
  const namedBy = new Map<string, number>();
  const count = (version: string | undefined): void => {
    if (version !== undefined) namedBy.set(version, (namedBy.get(version) ?? 0) + 1);
  };
  for (const operation of operations) {
    count(operation.version);
    if (!isPlain(operation) && operation.result === 'ok') count(versionIn(operation.expected));
  }

  const enter = (value: string | null, version: string | undefined, isUnseen: boolean): KeyState => ({
    value,
    version,
    namedBy: version === undefined ? 0 : namedBy.get(version)! - 1,
    isUnseen,
  });

  /** The state as somebody sees it who reads it, or ends it knowing what it was. */
  const see = (state: KeyState, version: string | undefined): KeyState | undefined => {
    if (version === undefined) return state.isUnseen ? { ...state, isUnseen: false } : state;
    if (state.version === undefined) return enter(state.value, version, false);
    return state.version === version ? { ...state, namedBy: state.namedBy - 1, isUnseen: false } : undefined;
  };

  /** @param state As the operation that ends it has seen it. */
  const replace = (state: KeyState | undefined, value: string | null, operation: Operation): KeyState | undefined =>
    state === undefined || state.namedBy > 0 ? undefined : enter(value, operation.version, operation.end === Infinity);

  /** Of a write that does not look at what it ends. */
  const overwrite = (state: KeyState, value: string | null, operation: Operation): KeyState | undefined =>
    state.isUnseen ? undefined : replace(state, value, operation);

  /** The state that an operation ends whose condition holds there; undefined where it doesn't. */
  const meet = (state: KeyState, { expected, result }: ReadModifyWrite): KeyState | undefined => {
    const version = versionIn(expected);
    if (version === undefined) return holds(state, expected) ? see(state, undefined) : undefined;
    if (result === 'ok') return see(state, version);
    // What nobody is known to have met may be the version of a state that nobody names.
    const isMet = state.version === undefined ? !namedBy.has(version) : state.version === version;
    return isMet ? see(state, undefined) : undefined;
  };

  const readModifyWrite = (state: KeyState, operation: ReadModifyWrite): KeyState | undefined => {
    const { kind, result, value, delta, found, version } = operation;
    if (found !== undefined && found !== state.value) return undefined;
    if (result === 'mismatch') {
      const isAllowed = kind === 'incr' ? sumOf(state.value, delta!) !== undefined : holds(state, operation.expected);
      // The version that was found may not be known of the state yet: it is not the one that was expected.
      return isAllowed || (version !== undefined && version === versionIn(operation.expected))
        ? undefined
        : see(state, version);
    }
    switch (kind) {
      case 'cas':
        return replace(meet(state, operation), value!, operation);
      case 'delif':
        return replace(meet(state, operation), null, operation);
      case 'getset':
        return result === 'ok' ? replace(state, value!, operation) : overwrite(state, value!, operation);
      case 'incr': {
        const sum = sumOf(state.value, delta!);
        return sum === undefined || (result === 'ok' && sum !== value) ? undefined : replace(state, sum, operation);
      }
    }
  };

  return {
    initial: { value: null, version: undefined, namedBy: 0, isUnseen: false },
    step(state, operation) {
      if (!isPlain(operation)) return readModifyWrite(state, operation);
      switch (operation.kind) {
        case 'get':
          return (operation.value ?? null) === state.value ? see(state, operation.version) : undefined;
        case 'put':
          return overwrite(state, operation.value!, operation);
        case 'delete':
          return overwrite(state, null, operation);
      }
    },
    identify: ({ value, version, isUnseen }) =>
      `${isUnseen ? '?' : ''}${version === undefined ? '' : `${version.length} ${version}`}${value === null ? '-' : `=${value}`}`,
    /** Who tells a version decides which state has it: that is a choice. */
    isReadOnly: (operation, { version }) =>
      isRead(operation) && (operation.version === undefined || version !== undefined),
  };
}

export function versionIn(expected: Expected | undefined): string | undefined {
  return expected !== undefined && 'version' in expected ? expected.version : undefined;
}

/** Of a version: whether it is certain. */
function holds(state: KeyState, expected: Expected | undefined): boolean {
  if (expected === undefined) return true;
  if ('version' in expected) return state.version === expected.version;
  return 'absent' in expected ? state.value === null : state.value === expected.value;
}
