import {
  FLAGS_REFUSED,
  FLAG_BUSY,
  FLAG_GONE,
  FLAG_REPAIR,
  FLAG_TOMBSTONE,
  FLAG_VALUE,
  FLAG_WRITE_BACK,
  MESSAGE_READ,
  MESSAGE_READ_PART,
  MESSAGE_READ_PART_REPLY,
  MESSAGE_READ_REPLY,
  MESSAGE_STAMP,
  MESSAGE_STAMP_REPLY,
  MESSAGE_WRITE,
  MESSAGE_WRITE_PART,
  MESSAGE_WRITE_PROGRESS,
  MESSAGE_WRITE_REPLY,
  OPERATION_SLOTS_MAX,
} from '../../src/protocol/messages.ts';
import { showChange } from '../../bench/checker/explain.ts';
import { ChangeObserver } from './change-observer.ts';
import { shorten } from './messages-seen.ts';
import type { Message } from './messages-seen.ts';
import type { SealingObserver } from './observed-sealing.ts';
import type { Attempt } from './recorded-client.ts';
import type { WorldObserver } from './world-observer.ts';

/** What showChange() does not show. */
const ANY = { key: '', result: 'unknown', start: 0, end: 0 } as const;

/** What was seen of an operation on its way. */
interface Trail {
  readonly attempt: Attempt;
  isOver: boolean;
  /** READ phases by generation: whether all of their messages ask for the value, as only a fetch does. */
  readonly reads: Map<number, { valueOnly: boolean }>;
  hasWriteParts: boolean;
  hasReadParts: boolean;
  hasPartReplies: boolean;
  isWrittenBack: boolean;
  hasTombstone: boolean;
  stampReplies: number;
  refusals: number;
  counterMax: number;
}

/** Tells which rules an operation met from the messages that it sent and got. */
export class ClientObserver implements SealingObserver {
  readonly #world: WorldObserver;
  readonly #name: string;
  readonly #quorum: number;
  /** By slot of the client's table: the operation that has it, or had it last. */
  readonly #trails = new Map<number, Trail>();
  readonly #changes: ChangeObserver;

  constructor(world: WorldObserver, name: string, quorum: number) {
    this.#world = world;
    this.#changes = new ChangeObserver(world);
    this.#name = name;
    this.#quorum = quorum;
  }

  onStarted(attempt: Attempt): void {
    this.#changes.onStarted(this.#slotOf(attempt), attempt);
    this.#trails.set(attempt.operationId % OPERATION_SLOTS_MAX, {
      attempt,
      isOver: false,
      reads: new Map(),
      hasWriteParts: false,
      hasReadParts: false,
      hasPartReplies: false,
      isWrittenBack: false,
      hasTombstone: false,
      stampReplies: 0,
      refusals: 0,
      counterMax: 0,
    });
    if (!this.#world.isTraced) return;
    const { id, kind, key, value, change } = attempt;
    const asked =
      change === undefined ? (value === undefined ? '' : shorten(value)) : showChange({ ...ANY, ...change });
    const what = `${kind} ${shorten(key)} ${asked}`;
    this.#world.tell(`${this.#name} begins ${id}: ${what} in slot ${this.#slotOf(attempt)}`);
  }

  onEnded(attempt: Attempt): void {
    const { kind, outcome } = attempt;
    this.#world.coverage.outcomes.add(outcome!);
    this.#changes.onEnded(this.#slotOf(attempt), attempt);
    if (this.#world.isTraced) {
      const { id, key, readValue, startMs, endMs, version } = attempt;
      const known = version === undefined ? '' : ` version ${version}`;
      const read = `${readValue === undefined ? '' : ` ${shorten(readValue)}`}${known}`;
      const tookMs = (endMs - startMs).toFixed(3);
      this.#world.tell(`${this.#name} ends ${id}: ${kind} ${shorten(key)} -> ${outcome}${read} after ${tookMs} ms`);
    }
    const trail = this.#trails.get(this.#slotOf(attempt));
    if (trail?.attempt !== attempt) return;
    trail.isOver = true;
    if (attempt.change !== undefined) return;
    if (kind === 'get') this.#onGetEnded(trail);
    else if (outcome === 'ok') {
      this.#world.rule(kind === 'put' ? 'put in two rounds' : 'delete in two rounds');
      if (trail.hasWriteParts) this.#world.rule('put by parts');
      if (trail.refusals > 0) this.#world.rule('put with refusals of a minority');
    }
  }

  #onGetEnded(trail: Trail): void {
    const { outcome } = trail.attempt;
    const world = this.#world;
    if (outcome !== 'ok' && outcome !== 'absent') return;
    const [, ...later] = trail.reads.values();
    if (outcome === 'ok' && later.length === 0 && !trail.isWrittenBack) world.rule('get in one round');
    if (later.some(({ valueOnly }) => valueOnly)) world.rule('newest value fetched');
    if (later.some(({ valueOnly }) => !valueOnly)) world.rule('get begins again');
    if (outcome === 'ok' && trail.hasReadParts) world.rule('get by parts');
    else if (outcome === 'ok' && trail.hasPartReplies) world.rule('get whose parts followed the answer');
    if (outcome === 'ok' && trail.isWrittenBack) world.rule('get writes back before it answers');
    if (outcome === 'absent' && trail.isWrittenBack && trail.hasTombstone) world.rule('tombstone written back');
    if (outcome === 'absent') world.rule(trail.counterMax === 0 ? 'absent: never written' : 'absent: tombstone');
  }

  // -- SealingObserver --------------------------------------------------------------------------------------------

  onSealing(messages: readonly Message[]): void {
    for (const message of messages) {
      const { type, flags, slot, generation, key } = message;
      this.#changes.onSent(message);
      if (type === MESSAGE_WRITE_PART || type === MESSAGE_READ_PART) this.#onPartSent(message);
      if (type !== MESSAGE_READ && type !== MESSAGE_STAMP && type !== MESSAGE_WRITE) continue;
      const trail = this.#trails.get(slot);
      // A message of the slot's earlier operation may leave after that has ended.
      if (trail === undefined || trail.isOver || trail.attempt.key !== key) continue;
      if (type === MESSAGE_READ) {
        const phase = trail.reads.get(generation) ?? { valueOnly: true };
        phase.valueOnly &&= (flags & FLAG_VALUE) !== 0;
        trail.reads.set(generation, phase);
      } else if ((flags & FLAG_WRITE_BACK) !== 0) {
        trail.isWrittenBack = true;
        trail.hasTombstone ||= (flags & FLAG_TOMBSTONE) !== 0;
      }
    }
  }

  #onPartSent({ type, flags, slot }: Message): void {
    const trail = this.#trails.get(slot);
    if (trail === undefined) return;
    if (type === MESSAGE_READ_PART) trail.hasReadParts = true;
    else if ((flags & FLAG_REPAIR) !== 0) this.#world.rule('repair sent by parts');
    else if (trail.isOver) this.#world.rule('rest sent after the answer');
    else {
      trail.hasWriteParts = true;
      trail.isWrittenBack ||= (flags & FLAG_WRITE_BACK) !== 0;
    }
  }

  onOpened(messages: readonly Message[]): void {
    for (const message of messages) {
      const { type, flags, slot, counter } = message;
      this.#changes.onReceived(message);
      if (type === MESSAGE_WRITE_PROGRESS && (flags & FLAG_BUSY) !== 0) {
        this.#world.rule('replica busy with other parts');
      }
      if (type === MESSAGE_READ_PART_REPLY && (flags & FLAG_GONE) !== 0) {
        this.#world.rule('value changed while it was read by parts');
      }
      const trail = this.#trails.get(slot);
      if (trail === undefined || trail.isOver) continue;
      if (type === MESSAGE_READ_PART_REPLY) trail.hasPartReplies = true;
      if (type === MESSAGE_READ_REPLY) trail.counterMax = Math.max(trail.counterMax, counter!);
      const isRefused = (flags & FLAGS_REFUSED) !== 0;
      if (type === MESSAGE_STAMP_REPLY && !isRefused) trail.stampReplies++;
      if ((type === MESSAGE_STAMP_REPLY || type === MESSAGE_WRITE_REPLY) && isRefused) trail.refusals++;
    }
  }

  afterHandled(): void {}

  onValueDone(kind: 'sealed' | 'opened', slot: number): void {
    const trail = this.#trails.get(slot);
    if (trail === undefined) return;
    if (trail.isOver) this.#world.rule('ends while the sealing has its value');
    else if (kind === 'sealed' && trail.stampReplies >= this.#quorum) {
      this.#world.rule('value sealed after the first round');
    }
  }

  #slotOf(attempt: Attempt): number {
    return attempt.operationId % OPERATION_SLOTS_MAX;
  }
}
