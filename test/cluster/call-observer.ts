import type { CallStream } from '../../src/coordinated/call-table.ts';
import { SLOT_RUNNING } from '../../src/coordinated/call-table.ts';
import type { CallVerdict } from '../../src/coordinated/call-table.ts';
import { CallClient } from '../../src/coordinated/call-client.ts';
import type { CallServer } from '../../src/coordinated/call-server.ts';
import type { ClientNode } from '../../src/client/client-node.ts';
import { MESSAGE_CALL, MESSAGE_CALL_REPLY, WORD_CALL_STREAM } from '../../src/protocol/call-messages.ts';
import { MESSAGE_CALL_PART, MESSAGE_CALL_REPLY_PART } from '../../src/protocol/call-part-messages.ts';
import { FLAG_GONE, OPERATION_SLOTS_MAX } from '../../src/protocol/messages.ts';
import type { ReplicaNode } from '../../src/server/replica-node.ts';
import type { ProtocolRule } from './coverage-names.ts';
import type { Message } from './messages-seen.ts';
import { shorten } from './messages-seen.ts';
import type { SealingObserver } from './observed-sealing.ts';
import type { Attempt, OperationObserver } from './recorded-client.ts';
import type { WorldObserver } from './world-observer.ts';

/** What was seen of a call on its way. */
interface Trail {
  readonly attempt: Attempt;
  generation: number | undefined;
  /** Parts of it were sent. */
  isParted: boolean;
  /** Parts of its answer have come. */
  isPulled: boolean;
}

/** Tells which rules a client of the coordinated route met. */
export class CallObserver implements SealingObserver, OperationObserver {
  readonly #world: WorldObserver;
  readonly #name: string;
  readonly #trails = new Map<number, Trail>();

  constructor(world: WorldObserver, name: string, node: ClientNode) {
    this.#world = world;
    this.#name = name;
    const { core } = node;
    if (!(core instanceof CallClient)) throw new Error('it watches clients of the coordinated route');
    const { members } = core;
    const lose = members.lose.bind(members);
    members.lose = (member) => {
      world.rule('replica lost the calls of a client');
      world.tell(`${name}: replica ${member} has lost its calls`);
      lose(member);
    };
    const onSessionLive = members.onSessionLive.bind(members);
    members.onSessionLive = (session) => {
      if (core.active > 0) world.rule('session renewed with calls under way');
      onSessionLive(session);
    };
  }

  onStarted(attempt: Attempt): void {
    const slot = attempt.operationId % OPERATION_SLOTS_MAX;
    this.#trails.set(slot, { attempt, generation: undefined, isParted: false, isPulled: false });
    if (!this.#world.isTraced) return;
    const { id, kind, key, value } = attempt;
    const what = `${kind} ${shorten(key)}${value === undefined ? '' : ` ${shorten(value)}`}`;
    this.#world.tell(`${this.#name} calls ${id}: ${what} in slot ${slot}`);
  }

  onEnded({ id, operationId, kind, key, outcome, readValue }: Attempt): void {
    const trail = this.#trails.get(operationId % OPERATION_SLOTS_MAX);
    if (trail?.attempt.id === id && outcome === 'ok') {
      if (trail.isParted) this.#world.rule('put called by parts');
      if (trail.isPulled) this.#world.rule('get answered by parts');
    }
    this.#world.coverage.outcomes.add(outcome!);
    if (!this.#world.isTraced) return;
    const read = readValue === undefined ? '' : ` ${shorten(readValue)}`;
    this.#world.tell(`${this.#name} ends ${id}: ${kind} ${shorten(key)} -> ${outcome}${read}`);
  }

  onSealing(messages: readonly Message[]): void {
    for (const { type, slot, generation } of messages) {
      const trail = this.#trails.get(slot);
      const isPart = type === MESSAGE_CALL_PART;
      if ((type !== MESSAGE_CALL && !isPart) || trail === undefined || trail.attempt.outcome !== undefined) continue;
      if (trail.generation !== undefined && trail.generation !== generation) {
        this.#world.rule('call sent anew under another generation');
        if (isPart) this.#world.rule('call by parts sent anew under another generation');
      }
      trail.generation = generation;
      if (isPart) trail.isParted = true;
    }
  }

  onOpened(messages: readonly Message[]): void {
    for (const { type, flags, slot, generation, callOutcome } of messages) {
      const trail = this.#trails.get(slot);
      if (type === MESSAGE_CALL_REPLY_PART && trail?.generation === generation) {
        if ((flags & FLAG_GONE) === 0) trail.isPulled = true;
        else this.#world.rule('answer by parts is gone');
      }
      if (type === MESSAGE_CALL_REPLY && callOutcome === 'not-permitted') this.#world.rule('call is not permitted');
    }
  }

  afterHandled(): void {}

  onValueDone(): void {
    throw new Error(`${this.#name} seals and opens no values`);
  }
}

const VERDICT_RULES: Record<CallVerdict, ProtocolRule | undefined> = {
  new: 'call run',
  running: 'call repeated while it runs',
  finished: 'call repeated when it has ended',
  // Drop reason late-call.
  late: undefined,
};

/** Tells what a replica makes of the calls that reach it. */
export function watchCalls(world: WorldObserver, node: ReplicaNode): void {
  const { table } = node.route.calls;
  watchParts(world, node.route.calls);
  const find = table.find.bind(table);
  const watched = new WeakSet<CallStream>();
  table.find = (clientKey, number) => {
    const stream = find(clientKey, number);
    if (stream === undefined) world.rule('call of a stream that is not known');
    else if (!watched.has(stream)) {
      watched.add(stream);
      const judge = stream.judge.bind(stream);
      stream.judge = (slot, generation) => {
        const verdict = judge(slot, generation);
        const rule = VERDICT_RULES[verdict];
        if (rule !== undefined) world.rule(rule);
        if (verdict === 'new' && stream.state[slot] === SLOT_RUNNING) {
          world.rule('call given up for the next in its slot');
        }
        return verdict;
      };
    }
    return stream;
  };
}

function watchParts(world: WorldObserver, calls: CallServer): void {
  const { assemblies, answers, partsMemory } = calls;
  let isNew = false;
  const assemble = assemblies.onPart.bind(assemblies);
  assemblies.onPart = (...part) => {
    isNew = true;
    const verdict = assemble(...part);
    if (verdict === 'whole') world.rule('call put together from parts');
    return verdict;
  };
  const onPart = calls.onPart.bind(calls);
  calls.onPart = (incoming, word, nowMs) => {
    const { words } = incoming.region;
    const stream = calls.table.find(incoming.session.peer.key, words[word + WORD_CALL_STREAM]! >>> 0);
    isNew = false;
    onPart(incoming, word, nowMs);
    if (!isNew && stream !== undefined) world.rule('part of a call that was run before');
  };
  const reply = answers.parted.reply.bind(answers.parted);
  answers.parted.reply = (stream, slot, attempt) => {
    const isKept = reply(stream, slot, attempt);
    if (isKept && attempt > 0) world.rule('answer by parts told again');
    return isKept;
  };
  const take = partsMemory.take.bind(partsMemory);
  partsMemory.take = (...asked) => {
    const block = take(...asked);
    if (block === 'busy') world.rule('no room for a call or answer by parts');
    return block;
  };
}
