import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { alignUp, allocateRegion } from '../../net/bytes.ts';
import type { Incoming } from '../../net/inbox.ts';
import { DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import type { Outgoing } from '../../net/outbox.ts';
import { NO_KEY } from '../../net/sealing.ts';
import { Session } from '../../net/session.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Peer } from '../protocol/peer.ts';

/**
 * The way between the coordinator and the replica of one process: messages go from one to the other in memory, within the
 * turn, without socket and cryptography. Both see what they see of any other peer: a session, and batches of messages.
 *
 *     coordinator --requests--> deliver() --> replica --answers--> deliver() --> coordinator
 *
 * Whoever appends is never called back from within: messages wait until deliver().
 */

/** Control part of a batch of requests: 200 WRITEs, 500 READs. */
const REQUEST_CONTROL_BYTES = 16 * 1024;
/** Of a batch of answers: 42 with a value. What of it is not used is lost when values behind it are kept. */
const ANSWER_CONTROL_BYTES = 2 * 1024;
/** With a value of any size, and many small ones. */
const BATCH_BYTES = 2 * DATAGRAM_BYTES_MAX;
/** Batches that wait; what is more is lost like a datagram, and asked for again. */
const REQUEST_BATCHES_MAX = 8;
const ANSWER_BATCHES_MAX = 64;

/** Trusted bytes of the requests that wait, at most. Answers are values as they lie in host memory, and a little beside. */
export const LOOPBACK_BYTES = REQUEST_BATCHES_MAX * BATCH_BYTES;

export interface LoopbackOptions {
  /** For all other sessions. */
  readonly remote: Messenger;
  /** The process as its own peer. */
  readonly peer: Peer;
  readonly datagramBytes: number;
  epoch(): number;
}

export class Loopback {
  readonly session: Session<Peer>;
  /** What the coordinator sends with. */
  readonly requests: LocalQueue;
  /** What the replica answers with. */
  readonly answers: LocalQueue;

  constructor(options: LoopbackOptions) {
    const { remote, peer, datagramBytes } = options;
    this.session = new Session<Peer>(0, 'half-open', 'own process', 0, datagramBytes, 0);
    this.session.establish(peer, 0, { sendKey: NO_KEY, receiveKey: NO_KEY }, 0, datagramBytes);
    this.session.state = 'live';
    const { session } = this;
    const epoch = (): number => options.epoch();
    this.requests = new LocalQueue({
      remote,
      session,
      epoch,
      controlBytes: REQUEST_CONTROL_BYTES,
      batchesMax: REQUEST_BATCHES_MAX,
    });
    this.answers = new LocalQueue({
      remote,
      session,
      epoch,
      controlBytes: ANSWER_CONTROL_BYTES,
      batchesMax: ANSWER_BATCHES_MAX,
    });
  }

  get isEmpty(): boolean {
    return this.requests.isEmpty && this.answers.isEmpty;
  }

  /** Hands over what waits. What comes of it waits for the next call. */
  deliver(toReplica: (incoming: Incoming<Peer>) => void, toCoordinator: (incoming: Incoming<Peer>) => void): void {
    this.requests.deliver(toReplica);
    this.answers.deliver(toCoordinator);
  }
}

interface LocalQueueOptions {
  readonly remote: Messenger;
  readonly session: Session<Peer>;
  readonly controlBytes: number;
  readonly batchesMax: number;
  epoch(): number;
}

/** Messages in one direction, gathered in batches that look like opened datagrams. */
class LocalQueue implements Messenger {
  readonly #options: LocalQueueOptions;
  readonly #local: Outgoing;
  #out: Outgoing;
  /** Batches that wait, the last one still open; then those that are free. */
  readonly #batches: Batch[] = [];
  #waitingCount = 0;
  readonly #incoming: Incoming<Peer>;

  constructor(options: LocalQueueOptions) {
    this.#options = options;
    const { session } = options;
    const region = allocateRegion(0);
    this.#local = { control: region, word: 0, packet: region, valueWord: 0 };
    this.#out = this.#local;
    this.#incoming = { session, region, word: 0, wordEnd: 0, valueWord: 0, valueWordEnd: 0, epoch: 0, isSpent: false };
  }

  get isEmpty(): boolean {
    return this.#waitingCount === 0;
  }

  get out(): Outgoing {
    return this.#out;
  }

  fits(session: Session<Peer>, controlBytes: number, valueBytes: number): boolean {
    return this.#options.remote.fits(session, controlBytes, valueBytes);
  }

  valueBytesMax(session: Session<Peer>, controlBytes: number): number {
    return this.#options.remote.valueBytesMax(session, controlBytes);
  }

  hasRoom(session: Session<Peer>): boolean {
    return session === this.#options.session || this.#options.remote.hasRoom(session);
  }

  /** A batch has room for a datagram and more; so many may wait as leave the other half to other messages. */
  hasSlots(session: Session<Peer>, datagramCount: number): boolean {
    if (session !== this.#options.session) return this.#options.remote.hasSlots(session, datagramCount);
    return this.#waitingCount + datagramCount <= this.#options.batchesMax / 2;
  }

  append(session: Session<Peer>, controlBytes: number, valueBytes: number, isBulk = false): boolean {
    if (session !== this.#options.session) {
      const { remote } = this.#options;
      if (!remote.append(session, controlBytes, valueBytes, isBulk)) return false;
      this.#out = remote.out;
      return true;
    }
    const batch = this.#batchFor(controlBytes, alignUp(valueBytes));
    if (batch === undefined) return false;
    this.#out = this.#local;
    this.#local.control = batch.region;
    this.#local.word = batch.controlEnd >> 2;
    this.#local.packet = batch.region;
    this.#local.valueWord = batch.valueEnd >> 2;
    batch.controlEnd += controlBytes;
    batch.valueEnd += alignUp(valueBytes);
    return true;
  }

  #batchFor(controlBytes: number, valueBytes: number): Batch | undefined {
    if (this.#waitingCount > 0) {
      const open = this.#batches[this.#waitingCount - 1]!;
      if (open.hasRoom(controlBytes, valueBytes)) return open;
    }
    if (this.#waitingCount === this.#options.batchesMax) return undefined;
    const batch = (this.#batches[this.#waitingCount] ??= new Batch(this.#options.controlBytes));
    this.#waitingCount++;
    if (!batch.hasRoom(controlBytes, valueBytes)) batch.renew();
    assert(batch.hasRoom(controlBytes, valueBytes), 'a batch takes any message that fits into a datagram');
    return batch;
  }

  /** What is appended meanwhile waits for the next call. */
  deliver(receive: (incoming: Incoming<Peer>) => void): void {
    const count = this.#waitingCount;
    const incoming = this.#incoming;
    for (let i = 0; i < count; i++) {
      const batch = this.#batches[i]!;
      incoming.region = batch.region;
      incoming.word = batch.start >> 2;
      incoming.wordEnd = batch.controlEnd >> 2;
      incoming.valueWord = batch.valueStart >> 2;
      incoming.valueWordEnd = batch.valueEnd >> 2;
      incoming.epoch = this.#options.epoch();
      batch.isClosed = true;
      receive(incoming);
      batch.clear();
    }
    // Those that came meanwhile move to the front; the others are free.
    for (let i = 0; i < count; i++) this.#batches.push(this.#batches.shift()!);
    this.#waitingCount -= count;
  }
}

/** Control messages from `start` on, values from `valueStart` on, in one region. */
class Batch {
  region: Region = allocateRegion(BATCH_BYTES);
  start = 0;
  controlEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  isClosed = false;
  readonly #controlBytes: number;

  constructor(controlBytes: number) {
    this.#controlBytes = controlBytes;
    this.#begin();
  }

  hasRoom(controlBytes: number, valueBytes: number): boolean {
    return (
      !this.isClosed &&
      this.controlEnd + controlBytes <= this.valueStart &&
      this.valueEnd + valueBytes <= this.region.bytes.length
    );
  }

  /**
   * Values are never written over, the next messages go behind them: a coordinator keeps the value of an answer where it
   * came until it is opened, and a replica that of a REPAIR.
   */
  clear(): void {
    if (this.valueEnd > this.valueStart) this.start = this.valueEnd;
    this.#begin();
  }

  /** Another region: this one has no room left. */
  renew(): void {
    this.region = allocateRegion(BATCH_BYTES);
    this.start = 0;
    this.#begin();
  }

  #begin(): void {
    this.controlEnd = this.start;
    this.valueStart = this.start + this.#controlBytes;
    this.valueEnd = this.valueStart;
    this.isClosed = false;
  }
}
