import type { Outgoing } from '../../net/outbox.ts';
import type { Session } from '../../net/session.ts';
import type { Peer } from './peer.ts';

/** What the protocol cores need of the message layer to send (net/endpoint.ts has it). */
export interface Messenger {
  /** Where the message that append() made room for is to be written. */
  readonly out: Outgoing;
  /** Whether a message is small enough for a datagram to this peer at all. */
  fits(session: Session<Peer>, controlBytes: number, valueBytes: number): boolean;
  /** Largest value part, a multiple of 8, that one datagram to this peer holds beside so many control bytes. */
  valueBytesMax(session: Session<Peer>, controlBytes: number): number;
  /** Whether the session takes a small message now. */
  hasRoom(session: Session<Peer>): boolean;
  /** Whether so many datagrams can be made beside the answers to what else has arrived. */
  hasSlots(session: Session<Peer>, datagramCount: number): boolean;
  /**
   * False when nothing can be sent to the session now; requests are repeated later, lost answers are asked for again.
   * @param isBulk A part of something large: leaves a share of the credit to small messages.
   */
  append(session: Session<Peer>, controlBytes: number, valueBytes: number, isBulk?: boolean): boolean;
}
