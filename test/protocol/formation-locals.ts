/** One replica's steps in the model of formation-model.ts: the product's Formation, copied before each. */
import type { Session } from '../../net/session.ts';
import type { Formation } from '../../src/protocol/formation.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { MemberState, StateMessage } from '../../src/protocol/state-message.ts';
import { readState } from '../../src/protocol/state-message.ts';
import { MessageRecorder, memberPeer, sessionWith } from './fixtures.ts';
import type { FormationClass } from './formation-source.ts';
import { ANNOUNCED_FIELD, GONE_FIELD, OPTIONS_FIELD } from './formation-source.ts';

export const MEMBER_COUNT = 3;
export const MEMBERS = [0, 1, 2] as const;
const EPOCH = 1;

/** A process at one moment. */
export interface Local {
  readonly formation: Formation;
  readonly state: MemberState;
  readonly incarnation: string;
  readonly instance: string;
  /** What it says at its next tick, or, when it is active, to whoever asks; -1 for nothing that matters. */
  readonly says: number;
  readonly gone: ReadonlySet<string>;
}

interface Step {
  readonly local: number;
  readonly sent: readonly number[];
}

interface Said {
  readonly message: StateMessage;
  readonly control: Int32Array;
}

/** Interns: what is equal has one number. */
export class Numbers<T> {
  readonly items: T[] = [];
  readonly #numbers = new Map<string, number>();

  of(key: string, make: () => T): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.items.length;
      this.#numbers.set(key, number);
      this.items.push(make());
    }
    return number;
  }
}

/** One replica's steps: the product's code runs once for each different process and message. */
export class Locals {
  readonly locals = new Numbers<Local>();
  readonly messages = new Numbers<Said>();
  readonly instances = new Numbers<readonly string[]>();
  readonly #class: FormationClass;
  readonly #recorder = new MessageRecorder();
  readonly #sessions = MEMBERS.map((from) => sessionWith(memberPeer(from)));
  readonly #hashes = new Numbers<string>();
  readonly #steps = new Map<number, Step>();
  #drawn = '';

  constructor(formationClass: FormationClass) {
    this.#class = formationClass;
  }

  start(index: number, incarnation: string): Step {
    this.#drawn = incarnation;
    return this.#after(new this.#class(this.#optionsOf(index)), index);
  }

  deliver(index: number, local: number, message: number): Step {
    const place = local * 65_536 + message;
    let step = this.#steps.get(place);
    if (step === undefined) {
      const { formation, incarnation } = this.locals.items[local]!;
      const { control } = this.messages.items[message]!;
      const from = this.messages.items[message]!.message.memberIndex;
      this.#drawn = nextIncarnation(incarnation);
      const copy = copied(formation);
      Object.assign(copy, { [OPTIONS_FIELD]: this.#optionsOf(index) });
      copy.onState(this.#sessions[from]!, control, 0);
      step = this.#after(copy, index);
      this.#steps.set(place, step);
    }
    return step;
  }

  #optionsOf(index: number): ConstructorParameters<FormationClass>[0] {
    const sessions = this.#sessions;
    return {
      clusterId: new Uint8Array(16),
      epoch: EPOCH,
      memberIndex: index,
      memberCount: MEMBER_COUNT,
      messenger: this.#recorder,
      hash: (bytes) => {
        const text = Buffer.from(bytes).toString();
        const number = this.#hashes.of(text, () => text);
        return new Uint8Array(16).fill(number & 0xff, 15).fill(number >> 8, 14, 15);
      },
      drawIncarnation: () => this.#drawn,
      *peerSessions(): IterableIterator<Session<Peer>> {
        for (const other of MEMBERS) if (other !== index) yield sessions[other]!;
      },
      onStateChange: () => {},
      onNewIncarnation: () => {},
    };
  }

  #after(formation: Formation, index: number): Step {
    const sent = new Set(this.#recorder.take().map(({ control }) => this.#said(control)));
    // The next tick.
    Object.assign(formation, { [ANNOUNCED_FIELD]: -1e9 });
    const before = copied(formation);
    formation.tick(0);
    if (formation.isActive) formation.onStateRequest(this.#sessions[(index + 1) % MEMBER_COUNT]!);
    const said = this.#recorder.take().map(({ control }) => this.#said(control));
    const { state, incarnation, instance } = before;
    if (instance !== undefined) this.instances.of(instance.id, () => instance.incarnations);
    Object.assign(before, { [OPTIONS_FIELD]: undefined });
    const local = this.locals.of(keyOf(before) + index, () => ({
      formation: before,
      state,
      incarnation,
      instance: instance?.id ?? '',
      says: said[0] ?? -1,
      gone: (before as unknown as Record<string, ReadonlySet<string>>)[GONE_FIELD] ?? new Set(),
    }));
    return { local, sent: [...sent] };
  }

  #said(control: Int32Array): number {
    const message = readState(control, 0)!;
    return this.messages.of(JSON.stringify(message), () => ({ message, control: control.slice() }));
  }
}

/** 32 hex digits: the member, then how many it had before. */
export function firstIncarnation(index: number): string {
  return `${index}${'0'.repeat(31)}`;
}

export function nextIncarnation(incarnation: string): string {
  return incarnation[0]! + nextOf(incarnation).toString(16).padStart(31, '0');
}

export function nextOf(incarnation: string): number {
  return Number.parseInt(incarnation.slice(1), 16) + 1;
}

function copied<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copied) as T;
  if (value instanceof Set) return new Set(value) as T;
  const copy: unknown = Object.create(Object.getPrototypeOf(value) as object);
  for (const [name, field] of Object.entries(value)) {
    (copy as Record<string, unknown>)[name] = name === OPTIONS_FIELD ? field : copied(field as unknown);
  }
  return copy as T;
}

function keyOf(formation: Formation): string {
  return JSON.stringify(
    formation,
    (_name, value: unknown) => (value instanceof Set ? [...value].map(String).sort() : value) ?? null,
  );
}
