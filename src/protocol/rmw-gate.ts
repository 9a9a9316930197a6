import { BackOffDelays } from './back-off-delays.ts';
import type { OperationTable } from './operation-table.ts';
import { NO_MEMBER } from './operation-table.ts';
import type { Writer } from './put-flow.ts';
import { hasMember } from './quorum.ts';
import type { RmwOperation } from './rmw-operation.ts';
import type { RmwRequests } from './rmw-requests.ts';
import type { FlowParts, Membership, Rounds } from './rounds.ts';

/**
 * Coordinators of one key meet at its gate, one member: who is let through there goes on, and who is refused waits a while and
 * leaves the other members alone. For speed only; rmw-acceptor.ts is the replicas' side.
 */

/**
 * Whoever was refused so often asks all, and yields to nobody: else a coordinator that keeps the gate's promise fresh, and
 * proposes nothing, could hold a key alone. Waits grow to 16 units, so this is after a second or so.
 */
const GATE_ATTEMPTS_MAX = 64;
/** Who was refused at the gate is in nobody's way: it looks again soon, at first. */
const GATE_UNIT_MS_MAX = 4;

export class RmwGate {
  readonly #table: OperationTable;
  readonly #rounds: Rounds;
  readonly #membership: Membership;
  readonly #rmwRequests: RmwRequests;
  readonly #delays: BackOffDelays;

  constructor({ table, rounds, membership }: FlowParts, rmwRequests: RmwRequests, writer: Writer) {
    this.#table = table;
    this.#rounds = rounds;
    this.#membership = membership;
    this.#rmwRequests = rmwRequests;
    // The process has drawn its writer id at random.
    this.#delays = new BackOffDelays(writer.writerLow ^ writer.writerHigh);
  }

  /** The gate of an operation's next PREPARE, or NO_MEMBER when it has been refused too often to keep to one. */
  of(slot: number, { attempts }: RmwOperation): number {
    return attempts < GATE_ATTEMPTS_MAX ? this.#memberOf(slot) : NO_MEMBER;
  }

  /**
   * The member whose promise comes first, the same for all coordinators of the key as far as they know the same members to be
   * there: who is refused there leaves the others alone, or coordinators that met would each have a part of the promises.
   */
  #memberOf(slot: number): number {
    const { memberCount } = this.#membership;
    const ready = this.#membership.readyMask();
    const answering = ready & ~this.#rounds.picker.silentMask;
    const first = (this.#table.keyHash(slot) >>> 0) % memberCount;
    for (let i = 0; i < memberCount; i++) {
      const member = (first + i) % memberCount;
      if (hasMember(answering === 0 ? ready : answering, member)) return member;
    }
    return NO_MEMBER;
  }

  /** Whom a PREPARE goes to first. */
  firstMembers({ badAccepted, attempts, gate, isLetThrough }: RmwOperation): number {
    // A copy that did not open is not to be had from a few: all are asked. So they are when the gate is not kept to.
    if (badAccepted !== 0 || gate === NO_MEMBER || isLetThrough) return this.#membership.readyMask();
    // Others are at work on the key: the gate alone, and the others when it has let this one through.
    if (attempts > 0) return 1 << gate;
    // A far gate is not worth a longer way to who is alone.
    return this.#rounds.firstMembers(1 << gate);
  }

  /** Nothing is going to be proposed: whoever waits for the promise need not wait longer. */
  release(slot: number, { promised, gate }: RmwOperation): void {
    const session = hasMember(promised, gate) ? this.#membership.session(gate) : undefined;
    if (session !== undefined) this.#rmwRequests.release(session, slot);
  }

  /** How long an operation waits until it prepares again. @param isRefused At the gate, where it is in nobody's way. */
  drawWaitMs(slot: number, operation: RmwOperation, isRefused: boolean): number {
    // A round trip or so, by the members that have answered: others may be gone, or were never met.
    const { picker } = this.#rounds;
    const unitMsMax = isRefused ? GATE_UNIT_MS_MAX : Infinity;
    const unitMs = Math.min(picker.rtoMs(this.#table.replied[slot]!, 0), picker.hedgeDelayMs(), unitMsMax);
    // The gate alone is asked so often.
    const isQuick = operation.sent !== 0 && operation.attempts < GATE_ATTEMPTS_MAX;
    return this.#delays.draw(operation.attempts++, isQuick, unitMs);
  }
}
