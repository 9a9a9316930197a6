import { FLAGS_REFUSED } from '../../src/protocol/messages.ts';
import {
  MESSAGE_ACCEPT,
  MESSAGE_BEHIND,
  MESSAGE_COMMIT,
  MESSAGE_COMMITTED,
  MESSAGE_NACK,
  MESSAGE_PREPARE,
  MESSAGE_PROMISE,
} from '../../src/protocol/rmw-messages.ts';
import { MESSAGE_STAGE_PART } from '../../src/protocol/rmw-part-messages.ts';
import type { Message } from './messages-seen.ts';
import type { Attempt } from './recorded-client.ts';
import type { WorldObserver } from './world-observer.ts';

/** What was seen of a read-modify-write on its way. */
interface Trail {
  readonly attempt: Attempt;
  isOver: boolean;
  readonly ballots: Set<string>;
  /** Its own, once it has proposed it. */
  id: string | undefined;
  /** Slot -> ballot of the last ACCEPT of its own. */
  readonly ownBallots: Map<number, string>;
  isTold: boolean;
  isBehind: boolean;
  isInRing: boolean;
  hasParts: boolean;
}

/** Tells which rules a read-modify-write met from the messages that its coordinator sent and got. */
export class ChangeObserver {
  readonly #world: WorldObserver;
  /** By slot of the client's table. */
  readonly #trails = new Map<number, Trail>();

  constructor(world: WorldObserver) {
    this.#world = world;
  }

  onStarted(slot: number, attempt: Attempt): void {
    if (attempt.change === undefined) {
      this.#trails.delete(slot);
      return;
    }
    this.#trails.set(slot, {
      attempt,
      isOver: false,
      ballots: new Set(),
      id: undefined,
      ownBallots: new Map(),
      isTold: false,
      isBehind: false,
      isInRing: false,
      hasParts: false,
    });
  }

  onEnded(slot: number, attempt: Attempt): void {
    const trail = this.#trails.get(slot);
    if (trail?.attempt !== attempt) return;
    trail.isOver = true;
    const { outcome } = attempt;
    const { ballots, id, ownBallots, isTold, isBehind, isInRing } = trail;
    const world = this.#world;
    if (outcome === 'ok' && ballots.size === 1 && !isTold && !isBehind) world.rule('read-modify-write in three rounds');
    if (outcome === 'mismatch') {
      world.rule(id === undefined ? 'compare that fails is a read' : 'compare that fails after it was sent is a read');
    }
    if ((outcome === 'deadline' || outcome === 'aborted') && id === undefined) {
      world.rule('read-modify-write without effect for certain');
    }
    if (outcome === 'ok' && trail.hasParts) world.rule('read-modify-write by parts');
    if (outcome !== 'ok' && outcome !== 'mismatch') return;
    if (isInRing) world.rule('own id found in a ring');
    if (ownBallots.size > 1) world.rule('proposed in another slot');
  }

  onSent({ type, slot, decision, key }: Message): void {
    const trail = this.#trails.get(slot);
    if (type === MESSAGE_STAGE_PART && trail !== undefined) trail.hasParts = true;
    if (decision === undefined || trail === undefined || trail.isOver || trail.attempt.key !== key) return;
    const { ballot, id } = decision;
    if (type === MESSAGE_PREPARE) trail.ballots.add(ballot!);
    if (type === MESSAGE_COMMIT && trail.isBehind) this.#world.rule('COMMIT to who is behind');
    if (type !== MESSAGE_ACCEPT) return;
    const isOwn = id!.split('#')[0] === ballot!.split('.')[1];
    if (!isOwn || (trail.id !== undefined && id !== trail.id)) return this.#world.rule('proposal of another helped');
    trail.id = id;
    const before = trail.ownBallots.get(decision.slot) ?? ballot;
    if (before !== ballot) this.#world.rule('own proposal sent again as it is');
    trail.ownBallots.set(decision.slot, ballot!);
  }

  onReceived({ type, slot, flags, decision }: Message): void {
    const trail = this.#trails.get(slot);
    if (decision === undefined || trail === undefined || trail.isOver) return;
    const world = this.#world;
    if (type === MESSAGE_NACK && (flags & FLAGS_REFUSED) === 0) world.rule('ballot lost');
    if (type === MESSAGE_BEHIND) trail.isBehind = true;
    if (type === MESSAGE_PROMISE && trail.id !== undefined && decision.id === trail.id) {
      world.rule('own proposal found accepted');
    }
    if (type !== MESSAGE_COMMITTED) return;
    trail.isTold = true;
    world.rule('told that the slot is decided');
    if (trail.id !== undefined && decision.ring.includes(trail.id)) trail.isInRing = true;
  }
}
