/**
 * Every way in which three replicas that know each other can become a cluster instance while one of them crashes, or
 * more: the product's own Formation, in all orders of messages, each of which may be lost, late or repeated. A replica
 * may crash at any time, and comes back with nothing but a new incarnation.
 *
 * - What a process would say at its next tick can be heard at any time; what it said before, too, until a later word of
 *   it was heard (also when it has died meanwhile). So losing and delaying are no steps of their own.
 * - A process that goes on as another incarnation begins a new round. The model follows the others to the end of the old
 *   one; of the first it only keeps that it says so.
 * - A world is good when a quorum is active in one instance. From every world a good one or a new round must be within
 *   reach by the words of living processes alone, unless crashes took an instance's quorum: that is people's to solve.
 */
import assert from 'node:assert/strict';
import { quorumOf } from '../../src/protocol/quorum.ts';
import type { StateMessage } from '../../src/protocol/state-message.ts';
import type { Local } from './formation-locals.ts';
import {
  Locals,
  MEMBERS,
  MEMBER_COUNT,
  Numbers,
  firstIncarnation,
  nextIncarnation,
  nextOf,
} from './formation-locals.ts';
import type { FormationClass } from './formation-source.ts';

const QUORUM = quorumOf(MEMBER_COUNT);

/** All three replicas, and what may still reach them. */
interface World {
  readonly locals: readonly number[];
  /** By member: numbers of sets of messages that can reach its process. */
  readonly onWay: readonly number[];
  readonly crashed: readonly string[];
  /** Ids of instances that somebody was active in. */
  readonly activated: readonly string[];
}

export interface Exploration {
  readonly worldCount: number;
  readonly localCount: number;
  readonly messageCount: number;
  readonly isComplete: boolean;
  /** What was wrong first, and how it came about. */
  readonly failure: string | undefined;
}

export class FormationModel {
  readonly #locals: Locals;
  readonly #crashCountMax: number;
  readonly #worldCountMax: number;
  readonly #ways = new Numbers<readonly number[]>();
  readonly #worlds: World[] = [];
  readonly #numbers = new Map<string, number>();
  /** How a world was reached first. */
  readonly #parents: number[] = [];
  readonly #events: string[] = [];
  /** Steps without a crash and with words of living processes only, backwards: pairs of worlds. */
  readonly #calmTo: number[] = [];
  readonly #calmFrom: number[] = [];

  constructor(formationClass: FormationClass, crashCountMax: number, worldCountMax: number) {
    this.#locals = new Locals(formationClass);
    this.#crashCountMax = crashCountMax;
    this.#worldCountMax = worldCountMax;
  }

  explore(): Exploration {
    const steps = MEMBERS.map((index) => this.#locals.start(index, firstIncarnation(index)));
    const none = this.#wayOf([]);
    const locals = steps.map(({ local }) => local);
    let world: World = { locals, onWay: MEMBERS.map(() => none), crashed: [], activated: [] };
    for (const index of MEMBERS) {
      for (const other of MEMBERS) {
        if (other !== index) world = this.#heard(world, index, this.#local(world, other).says);
      }
    }
    // All that matters of what was said so far is what each would say again.
    world = { ...world, onWay: MEMBERS.map(() => none) };
    this.#reach(world, -1, 'start');
    let failure: string | undefined;
    let at = 0;
    for (; at < this.#worlds.length && this.#worlds.length < this.#worldCountMax; at++) {
      failure = this.#violation(this.#worlds[at]!);
      if (failure !== undefined) break;
      this.#expand(at);
    }
    const isComplete = failure === undefined && at === this.#worlds.length;
    if (isComplete) {
      at = this.#firstStuck();
      if (at !== -1) failure = 'no quorum of active members can be reached any more';
    }
    return {
      worldCount: this.#worlds.length,
      localCount: this.#locals.locals.items.length,
      messageCount: this.#locals.messages.items.length,
      isComplete,
      failure: failure === undefined ? undefined : `${failure}\n${this.#story(at)}`,
    };
  }

  #expand(at: number): void {
    const world = this.#worlds[at]!;
    for (const index of MEMBERS) {
      for (const message of this.#hearable(world, index)) {
        const number = this.#reach(this.#heard(world, index, message), at, `${index} hears ${message}`);
        if (number === at || !this.#isFresh(world, message)) continue;
        this.#calmFrom.push(at);
        this.#calmTo.push(number);
      }
      // All three are alike before the first crash: it may be the last one's.
      const mayCrash = world.crashed.length < this.#crashCountMax && (world.crashed.length > 0 || index === 2);
      if (mayCrash) this.#reach(this.#crash(world, index), at, `${index} crashes`);
    }
  }

  /** What is on its way to a process, and what living ones would say at their next tick. */
  #hearable(world: World, index: number): Set<number> {
    if (!this.#listens(world, index)) return new Set();
    const messages = new Set(this.#ways.items[world.onWay[index]!]!);
    for (const other of MEMBERS) {
      const { says } = this.#local(world, other);
      if (other !== index && says !== -1) messages.add(says);
    }
    return messages;
  }

  #heard(world: World, index: number, message: number): World {
    const before = this.#local(world, index);
    const left = this.#messagesLeft(world, index, message);
    const step = this.#locals.deliver(index, world.locals[index]!, message);
    if (this.#hasRenewed(world, index)) {
      const replies = step.sent.filter((reply) => this.#message(reply).state === 'replaced');
      return this.#sent(this.#moved(world, index, world.locals[index]!, left), index, replies);
    }
    if (this.#locals.locals.items[step.local]!.incarnation === before.incarnation) {
      return this.#sent(this.#moved(world, index, step.local, left), index, step.sent);
    }
    // What it knew does not matter any more. The sessions that others made with its old incarnation end.
    const renewed = this.#locals.start(index, nextIncarnation(before.incarnation));
    return this.#sent(this.#moved(world, index, renewed.local, []), index, renewed.sent);
  }

  /** Words of one process arrive in their order, or never: what it said before this one will not come any more. */
  #messagesLeft(world: World, index: number, message: number): number[] {
    const { items } = this.#locals.messages;
    const { incarnation } = items[message]!.message;
    const way = this.#ways.items[world.onWay[index]!]!;
    const place = way.indexOf(message);
    return way.filter((other, i) => i > place || items[other]!.message.incarnation !== incarnation);
  }

  #crash(world: World, index: number): World {
    const { incarnation } = this.#local(world, index);
    const { local, sent } = this.#locals.start(index, nextIncarnation(incarnation));
    const moved = this.#moved(world, index, local, []);
    return this.#sent({ ...moved, crashed: [...world.crashed, incarnation].sort() }, index, sent);
  }

  #moved(world: World, index: number, local: number, way: readonly number[]): World {
    const { instance } = this.#locals.locals.items[local]!;
    const locals = world.locals.map((own, member) => (member === index ? local : own));
    const moved = { ...world, locals };
    const left = way.filter((message) => !this.#isIgnored(moved, index, message));
    const onWay = world.onWay.map((own, member) => (member === index ? this.#wayOf(left) : own));
    if (instance === '' || world.activated.includes(instance)) return { ...moved, onWay };
    return { ...moved, onWay, activated: [...world.activated, instance].sort() };
  }

  /** What a process will never act on need not be remembered. */
  #isIgnored(world: World, index: number, message: number): boolean {
    const { state, incarnation } = this.#message(message);
    if (!this.#listens(world, index)) return true;
    if (this.#hasRenewed(world, index)) return state !== 'voted' && state !== 'withdrawn';
    if (!this.#local(world, index).gone.has(incarnation)) return false;
    const { local, sent } = this.#locals.deliver(index, world.locals[index]!, message);
    return local === world.locals[index] && sent.length === 0;
  }

  /** One that went on as another incarnation is a matter of the next round: here it only says that it did. */
  #hasRenewed(world: World, index: number): boolean {
    const { incarnation } = this.#local(world, index);
    const crashCount = world.crashed.filter((other) => other[0] === incarnation[0]).length;
    return nextOf(incarnation) - 1 > crashCount;
  }

  #message(number: number): StateMessage {
    return this.#locals.messages.items[number]!.message;
  }

  #sent(world: World, from: number, messages: readonly number[]): World {
    if (messages.length === 0) return world;
    const onWay = world.onWay.map((way, member) => {
      if (member === from || !this.#listens(world, member)) return way;
      const others = this.#ways.items[way]!.filter((message) => !messages.includes(message));
      return this.#wayOf([...others, ...messages.filter((message) => !this.#isIgnored(world, member, message))]);
    });
    return { ...world, onWay };
  }

  #listens(world: World, index: number): boolean {
    const { state } = this.#local(world, index);
    return state !== 'active' && state !== 'outside';
  }

  /** Only the order of the words of one process matters. */
  #wayOf(messages: readonly number[]): number {
    const { items } = this.#locals.messages;
    const incarnationOf = (message: number): string => items[message]!.message.incarnation;
    const sorted = messages.toSorted((a, b) =>
      incarnationOf(a) < incarnationOf(b) ? -1 : Number(incarnationOf(a) > incarnationOf(b)),
    );
    return this.#ways.of(sorted.join(), () => sorted);
  }

  #reach(world: World, from: number, event: string): number {
    const key = `${world.locals.join()} ${world.onWay.join()} ${world.crashed.join()} ${world.activated.join()}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#worlds.length;
      this.#numbers.set(key, number);
      this.#worlds.push(world);
      this.#parents.push(from);
      this.#events.push(event);
    }
    return number;
  }

  #local(world: World, index: number): Local {
    return this.#locals.locals.items[world.locals[index]!]!;
  }

  /** Whether its sender lives and would say it again. */
  #isFresh(world: World, message: number): boolean {
    const { memberIndex, incarnation, state } = this.#locals.messages.items[message]!.message;
    const sender = this.#local(world, memberIndex);
    return (
      sender.says === message || (sender.incarnation === incarnation && (state === 'active' || state === 'replaced'))
    );
  }

  // -- what must hold ---------------------------------------------------------------------------------------------

  #incarnationsOf(instance: string): readonly string[] {
    return this.#locals.instances.items[this.#locals.instances.of(instance, () => assert.fail('known'))]!;
  }

  #activeCount(world: World, instance: string): number {
    return MEMBERS.filter((index) => this.#local(world, index).instance === instance).length;
  }

  #violation(world: World): string | undefined {
    const { activated } = world;
    if (activated.filter((id) => this.#activeCount(world, id) >= QUORUM).length > 1) return 'two instances rule';
    const all = activated.flatMap((id) => this.#incarnationsOf(id));
    if (new Set(all).size !== all.length) return 'two instances share an incarnation';
    for (const index of MEMBERS) {
      const { instance, incarnation, state } = this.#local(world, index);
      if ((state === 'active') !== (instance !== '')) return 'active is to have an instance';
      if (instance !== '' && this.#incarnationsOf(instance)[index] !== incarnation) {
        return `${index} is active in an instance without it`;
      }
    }
    for (const id of activated) {
      if (this.#activeCount(world, id) === 0) continue;
      for (const [index, incarnation] of this.#incarnationsOf(id).entries()) {
        const lives = this.#local(world, index).incarnation === incarnation;
        if (!lives && !world.crashed.includes(incarnation)) return `an active instance lost ${index} without a crash`;
        if (lives && this.#local(world, index).state === 'outside') return `${index} is outside its own instance`;
      }
    }
    return undefined;
  }

  /** By design, an instance that lost its quorum to crashes waits for people. */
  #isExcused(world: World): boolean {
    return world.activated.some(
      (id) => this.#incarnationsOf(id).filter((incarnation) => world.crashed.includes(incarnation)).length >= QUORUM,
    );
  }

  #isServing(world: World): boolean {
    return world.activated.some((id) => this.#activeCount(world, id) >= QUORUM);
  }

  /** A world from which no service can come, although all three live and hear each other; -1 when there is none. */
  #firstStuck(): number {
    const count = this.#worlds.length;
    const heads = new Int32Array(count).fill(-1);
    const nexts = new Int32Array(this.#calmTo.length);
    this.#calmTo.forEach((to, edge) => {
      nexts[edge] = heads[to]!;
      heads[to] = edge;
    });
    const reaches = new Uint8Array(count);
    const queue: number[] = [];
    this.#worlds.forEach((world, number) => {
      if (!this.#isServing(world) && !MEMBERS.some((index) => this.#hasRenewed(world, index))) return;
      reaches[number] = 1;
      queue.push(number);
    });
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      for (let edge = heads[at]!; edge !== -1; edge = nexts[edge]!) {
        const from = this.#calmFrom[edge]!;
        if (reaches[from] === 1) continue;
        reaches[from] = 1;
        queue.push(from);
      }
    }
    return this.#worlds.findIndex((world, number) => reaches[number] === 0 && !this.#isExcused(world));
  }

  #story(at: number): string {
    const lines: string[] = [];
    for (let number = at; number !== -1; number = this.#parents[number]!) {
      const world = this.#worlds[number]!;
      const event = this.#events[number]!.replace(/hears (\d+)/, (_, message: string) => {
        return `hears ${describe(this.#locals.messages.items[Number(message)]!.message)}`;
      });
      const states = MEMBERS.map((index) => {
        const { incarnation, state } = this.#local(world, index);
        return `${nameOf(incarnation)} ${state}`;
      });
      lines.push(`${event.padEnd(48)} -> ${states.join(', ')}`);
    }
    return lines.toReversed().join('\n');
  }
}

function nameOf(incarnation: string): string {
  return `${incarnation[0]!}.${Number.parseInt(incarnation.slice(1), 16)}`;
}

function describe({ state, incarnation, incarnations, goneMask }: StateMessage): string {
  return `${nameOf(incarnation)} ${state} [${incarnations.map(nameOf).join(' ')}]${goneMask === 0 ? '' : ` gone ${goneMask}`}`;
}
