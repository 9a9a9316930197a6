import { randomBytes } from '../../../workers/signing.ts';
import { hexOf } from '../hex.ts';
import type { CasState, DataKeyRecord, MemberRecord } from './cas-state.ts';
import { Refused } from './https-service.ts';
import { isRevoked } from './revocations.ts';
import { DATA_KEY_ID_MAX, DATA_KEYS_MAX, DESTROYED_KEPT_MAX } from './messages.ts';

/**
 * The life of a data key. A key space has one that is current; a rotation brings the next one, and ends when the one before
 * is destroyed. No step is taken before every member has said, in a report that its platform or LAS vouches for, that it has
 * done its part; so a member that is away holds a rotation up, and loses nothing.
 *
 *     announced   handed out, not used yet            until all members hold it, and two refreshes have passed
 *     current     new values are sealed under it      until the next one is
 *     retiring    members re-seal what lies under it  until none has found anything in a whole look at its store,
 *                                                     and two refreshes have passed
 *     closing     members take no new value under it  until none has found anything in a look begun after that
 *     destroyed   erased here and everywhere
 *
 * The two refreshes are for clients, of whom nobody keeps a list: whoever reaches CAS has the key before it is needed.
 */
/** What of CAS's state it is about. */
export type KeyState = Pick<
  CasState,
  'spaces' | 'dataKeys' | 'lastDataKeyId' | 'destroyedKeys' | 'keySequence' | 'refreshSeconds' | 'lases' | 'revoked'
> & { readonly members: readonly Pick<MemberRecord, 'staticKey' | 'group' | 'keyReport'>[] };

export type KeyPhase = DataKeyRecord['phase'];

export interface KeyStep {
  readonly id: number;
  readonly space: string;
  readonly phase: KeyPhase | 'destroyed';
}

/** One current, one announced, and two whose values are large or on their way. */
const SPACE_KEYS_MAX = 4;
const CLIENT_REFRESHES = 2;
const DATA_KEY_BYTES = 32;

/** @throws Refused when there is no such space, or its last rotation has not come far enough. */
export function announceKey(state: KeyState, space: string, nowMs: number): KeyStep {
  if (!state.spaces.some(({ name }) => name === space)) {
    const known = state.spaces.map(({ name }) => name).join(', ');
    throw new Refused('refused', `there is no key space ${space}; there are ${known}`);
  }
  const keys = state.dataKeys.filter((key) => key.space === space);
  const announced = keys.find(({ phase }) => phase === 'announced');
  if (announced !== undefined) {
    throw new Refused(
      'later',
      `data key ${announced.id} of ${space} is announced already, and ${waitText(state, announced)}`,
    );
  }
  const isFull = keys.length >= SPACE_KEYS_MAX || state.dataKeys.length >= DATA_KEYS_MAX;
  if (isFull || state.lastDataKeyId >= DATA_KEY_ID_MAX) {
    throw new Refused('later', `key space ${space} has ${keys.length} data keys: values still lie under the old ones`);
  }
  const id = ++state.lastDataKeyId;
  const key = hexOf(randomBytes(DATA_KEY_BYTES));
  state.dataKeys = [...state.dataKeys, { id, space, key, phase: 'announced', sinceMs: nowMs }];
  state.keySequence++;
  return { id, space, phase: 'announced' };
}

/** Takes the steps that are due. Changes nothing when none is. */
export function advanceKeys(state: KeyState, nowMs: number): KeyStep[] {
  const steps: KeyStep[] = [];
  for (const key of state.dataKeys) {
    if (waitsFor(state, key).length > 0 || !isWaitOver(state, key, nowMs)) continue;
    const next = NEXT[key.phase];
    if (next === undefined) continue;
    if (next === 'current') retireCurrent(state, key.space, key.id, nowMs, steps);
    if (next === 'destroyed') destroy(state, key, nowMs);
    else setPhase(key, next, nowMs);
    steps.push({ id: key.id, space: key.space, phase: next });
  }
  if (steps.length > 0) state.keySequence++;
  return steps;
}

const NEXT = { announced: 'current', current: undefined, retiring: 'closing', closing: 'destroyed' } as const;

/**
 * Members that have not reported their part of the key's present phase; those that have not joined are among them. A revoked one
 * is not: a rotation takes from it what it has, and all that others need lies at a quorum of those that are left.
 */
export function waitsFor(state: KeyState, key: Pick<DataKeyRecord, 'id' | 'phase'>): number[] {
  const { id, phase } = key;
  if (phase === 'current') return [];
  const part = { announced: 'held', retiring: 'unused', closing: 'closed' } as const;
  return state.members.flatMap((member, i) => {
    const { staticKey, keyReport } = member;
    const isDone = staticKey !== null && (keyReport[part[phase]].includes(id) || isRevoked(state, member));
    return isDone ? [] : [i];
  });
}

function waitText(state: KeyState, key: DataKeyRecord): string {
  const members = waitsFor(state, key);
  return members.length === 0 ? 'waits for clients' : `waits for ${members.length} members: ${members.join(', ')}`;
}

function isWaitOver(state: KeyState, { phase, sinceMs }: DataKeyRecord, nowMs: number): boolean {
  if (phase === 'closing') return true;
  return nowMs >= sinceMs + CLIENT_REFRESHES * state.refreshSeconds * 1000;
}

function retireCurrent(state: KeyState, space: string, id: number, nowMs: number, steps: KeyStep[]): void {
  const record = state.spaces.find(({ name }) => name === space)!;
  const old = state.dataKeys.find((key) => key.id === record.currentDataKeyId)!;
  record.currentDataKeyId = id;
  setPhase(old, 'retiring', nowMs);
  steps.push({ id: old.id, space, phase: 'retiring' });
}

function destroy(state: KeyState, { id, space }: DataKeyRecord, nowMs: number): void {
  state.dataKeys = state.dataKeys.filter((key) => key.id !== id);
  const kept = state.destroyedKeys.slice(-(DESTROYED_KEPT_MAX - 1));
  state.destroyedKeys = [...kept, { id, space, destroyedMs: Math.floor(nowMs) }];
}

function setPhase(key: DataKeyRecord, phase: KeyPhase, nowMs: number): void {
  key.phase = phase;
  key.sinceMs = nowMs;
}
