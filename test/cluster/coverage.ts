import { DROP_REASONS } from '../../net/drops.ts';
import type { DropReason } from '../../net/drops.ts';
import { HINT_REASONS } from '../../net/wire.ts';
import type { HintReason } from '../../net/wire.ts';
import { OUTCOMES } from '../../src/protocol/outcome.ts';
import type { Outcome } from '../../src/protocol/outcome.ts';
import { FAULTS, PROTOCOL_RULES } from './coverage-names.ts';
import type { Fault, ProtocolRule } from './coverage-names.ts';
import { MESSAGE_NAMES } from './messages-seen.ts';
import type { MessageName } from './messages-seen.ts';

/**
 * What simulated runs have reached: each message kind, drop reason, outcome and protocol rule, and each fault that was
 * injected. What no run reaches is not tested, however many runs pass.
 */
export type MessageKind =
  | MessageName
  | 'DATA without messages'
  | 'REQUEST'
  | 'RESPONSE'
  | 'COOKIE'
  | `HINT ${HintReason}`;

export const MESSAGE_KINDS: readonly MessageKind[] = [
  'REQUEST',
  'RESPONSE',
  'COOKIE',
  ...HINT_REASONS.map((reason) => `HINT ${reason}` as const),
  'DATA without messages',
  ...Object.values(MESSAGE_NAMES),
];

/** How often each of some names was met. */
export class Tally<Name extends string> {
  readonly #counts = new Map<Name, number>();

  constructor(names: readonly Name[]) {
    for (const name of names) this.#counts.set(name, 0);
  }

  add(name: Name, count = 1): void {
    this.#counts.set(name, this.of(name) + count);
  }

  of(name: Name): number {
    return this.#counts.get(name) ?? 0;
  }

  get names(): Name[] {
    return [...this.#counts.keys()];
  }

  merge(other: Tally<Name>): void {
    for (const name of other.names) this.add(name, other.of(name));
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}

export class Coverage {
  readonly messages = new Tally<MessageKind>(MESSAGE_KINDS);
  readonly drops = new Tally<DropReason>(DROP_REASONS);
  readonly outcomes = new Tally<Outcome>(OUTCOMES);
  readonly rules = new Tally<ProtocolRule>(Object.keys(PROTOCOL_RULES) as ProtocolRule[]);
  readonly faults = new Tally<Fault>(FAULTS);

  merge(other: Coverage): void {
    this.messages.merge(other.messages);
    this.drops.merge(other.drops);
    this.outcomes.merge(other.outcomes);
    this.rules.merge(other.rules);
    this.faults.merge(other.faults);
  }

  /** What was never met and could have been: "drop reason: forged". */
  missing(): string[] {
    const areas: readonly (readonly [string, Tally<string>])[] = [
      ['message', this.messages as Tally<string>],
      ['drop reason', this.drops as Tally<string>],
      ['outcome', this.outcomes as Tally<string>],
      ['rule', this.rules as Tally<string>],
      ['fault', this.faults as Tally<string>],
    ];
    return areas.flatMap(([area, tally]) =>
      tally.names.filter((name) => tally.of(name) === 0 && !(name in OUT_OF_REACH)).map((name) => `${area}: ${name}`),
    );
  }
}

/** What simulated runs can't be asked to meet, and why. */
export const OUT_OF_REACH: Readonly<Partial<Record<DropReason | MessageKind | Outcome, string>>> = {
  'sessions-full': 'takes 4,096 sessions at once, 13 s of Diffie-Hellman; test/net/endpoint-admission.test.ts has it',
  'HINT full': 'is sent with the drop reason sessions-full only',
  'session-revoked':
    'is CAS’s doing, which is not simulated; test/protocol/revoked-peers.test.ts, test/trust/chain/state.test.ts have it',
  'stamps-exhausted':
    'no client can use counters up, and the other numbers would take a key that is written all the time; test/protocol/coordinator-put.test.ts and coordinator-rmw.test.ts have it',
  'too-large':
    'is met when a client comes back with smaller datagrams than it has called in; test/coordinated/call-rmw.test.ts has it',
  'done-too-large':
    'is met when a client comes back with smaller datagrams than it has called in; test/coordinated/call-rmw.test.ts has it',
};
