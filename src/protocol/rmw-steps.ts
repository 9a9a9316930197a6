import type { Outcome } from './outcome.ts';
import type { CommitPurpose, OpenPurpose, Proposal, RmwOperation } from './rmw-operation.ts';

/** What may come next in a read-modify-write, whichever of its parts has found that out (rmw-flow.ts). */
export interface RmwSteps {
  prepare(slot: number, operation: RmwOperation): void;
  /** The value of the greatest stamp is asked for. */
  fetch(slot: number, operation: RmwOperation): void;
  /** A value that is larger than a datagram is asked for by parts. */
  pull(slot: number, operation: RmwOperation, purpose: OpenPurpose): void;
  /** A member lacks the value that it needs to accept, or to commit. */
  sendParts(slot: number, operation: RmwOperation, member: number): void;
  /** What is sent by parts, or asked for, is not gone on with. */
  stopParts(slot: number, operation: RmwOperation): void;
  accept(slot: number, operation: RmwOperation, proposal: Proposal): void;
  commit(slot: number, operation: RmwOperation, purpose: CommitPurpose, targets: number): void;
  catchUp(slot: number, operation: RmwOperation): void;
  /** The own one is decided, and its COMMIT has left. */
  handOver(slot: number, operation: RmwOperation): void;
  /** A quorum holds what was found, and the condition does not hold. */
  answerRead(slot: number, operation: RmwOperation): void;
  giveUp(slot: number, reason: Outcome): void;
  backOff(slot: number, operation: RmwOperation): void;
}

export interface RmwCounters {
  /** Proposals of others that were decided here. */
  helped: number;
  /** Times that another coordinator's ballot was in the way. */
  backOffs: number;
}
