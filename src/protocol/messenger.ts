import type { Outgoing } from '../../net/outbox.ts';
import type { Session } from '../../net/session.ts';
import type { Peer } from './peer.ts';

/** What the protocol cores need of the message layer to send (net/endpoint.ts has it). */
export interface Messenger {
  /** Where the message that append() made room for is to be written. */
  readonly out: Outgoing;
  /** Whether a message is small enough for a datagram to this peer at all. */
  fits(session: Session<Peer>, controlBytes: number, valueBytes: number): boolean;
  /** False when nothing can be sent to the session now; requests are repeated later, lost answers are asked for again. */
  append(session: Session<Peer>, controlBytes: number, valueBytes: number): boolean;
}
