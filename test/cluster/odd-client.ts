import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Outgoing } from '../../net/outbox.ts';
import type { Link } from '../../net/link.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { MESSAGE_CALL_OPENED, NO_STREAM, WORD_CALL_OPENED_STREAM } from '../../src/protocol/call-messages.ts';
import { acceptResponse, requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { Dice } from './dice.ts';
import { messagesIn } from './messages-seen.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import type { OtherParty } from './simulated-trust.ts';
import { authorityOf } from './simulated-trust.ts';

/** How a client differs from one that belongs here. */
export interface Oddity {
  readonly party?: OtherParty;
  readonly mode?: SecurityMode;
  readonly clusterId?: Uint8Array;
  /** Takes the members to be each other: their static keys in another order. */
  readonly mistakesMembers?: boolean;
  /** Sees what it is answered. */
  readonly onMessages?: (incoming: Incoming<Peer>) => void;
}

const DATAGRAM_BYTES = 1_200;
const ODD_HOST = '10.0.2.1';

/**
 * A message layer of its own, without a client's manners: what strangers, clients that are set up wrongly and hostile
 * ones with a valid key are made of.
 */
export class OddClient implements EndpointApplication<Peer> {
  readonly name: string;
  readonly process: SimulatedProcess;
  readonly dice: Dice;
  readonly links: readonly Link<Peer>[];
  /** Its own writer id. */
  readonly writerLow: number;
  readonly writerHigh: number;
  /** Simulated time, which is how long the cluster has been there. */
  readonly elapsedMs: () => number;
  readonly #oddity: Oddity;
  readonly #endpoint: Endpoint<Peer>;
  readonly #streams: number[] = [];
  readonly #epoch: number;
  readonly #certificate: Uint8Array;

  constructor(cluster: SimulatedCluster, name: string, port: number, oddity: Oddity) {
    const dice = cluster.dice.split();
    const mode = oddity.mode ?? cluster.mode;
    const authority = authorityOf(mode, cluster.memberCount, oddity.party ?? 'client');
    this.#oddity = oddity;
    this.name = name;
    this.dice = dice;
    this.elapsedMs = () => cluster.time.nowMs;
    this.writerLow = dice.integer(0, 0x7fff_ffff);
    this.writerHigh = dice.integer(0, 0x7fff_ffff);
    this.#certificate = authority.certificate;
    this.#epoch = authority.configuration.epoch;
    this.process = cluster.createProcess(name, { host: ODD_HOST, port });
    const sealing = cluster.createSealing(name, dice, this.process, mode);
    const { staticKeyPair, configuration } = authority;
    this.#endpoint = new Endpoint<Peer>({
      mode,
      clusterId: oddity.clusterId ?? authority.clusterId,
      transport: this.process,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing, randomBytes: dice.bytes }),
      application: this,
      datagramBytes: DATAGRAM_BYTES,
      drops: new DropCounters(),
    });
    this.#endpoint.epoch = this.#epoch;
    const { members } = configuration;
    this.links = members.map(({ host, port: memberPort }, index) => {
      const believed = members[oddity.mistakesMembers === true ? (index + 1) % members.length : index]!;
      return this.#endpoint.openLink(host, memberPort, believed.staticKey);
    });
    this.process.runEndpoint(this.#endpoint);
  }

  leave(): void {
    this.#endpoint.close();
    this.process.kill();
  }

  /** Sends one message in a datagram of its own. False when there is no session, or it takes nothing now. */
  send(
    member: number,
    controlBytes: number,
    valueBytes: number,
    write: (out: Outgoing) => void,
    epochAhead = 0,
  ): boolean {
    const session = this.links[member]!.session;
    if (session === undefined) return false;
    const { nowMs } = this.process;
    this.#endpoint.flush(nowMs);
    if (!this.#endpoint.append(session, controlBytes, valueBytes)) return false;
    const { out } = this.#endpoint;
    out.control.words.fill(0, out.word, out.word + controlBytes / 4);
    out.packet.words.fill(0, out.valueWord, out.valueWord + valueBytes / 4);
    write(out);
    this.#endpoint.epoch = this.#epoch + epochAhead;
    this.#endpoint.flush(nowMs);
    this.#endpoint.epoch = this.#epoch;
    return true;
  }

  requestPayload(): Uint8Array {
    return requestPayload(this.writerHigh, this.writerLow, this.#certificate);
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  admit(): Admission<Peer> {
    return { ok: false, reason: 'it takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.links.indexOf(link), payload, link.staticKey);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(): void {}

  onMessages(incoming: Incoming<Peer>): void {
    this.#oddity.onMessages?.(incoming);
    const { session, region, word, wordEnd, valueWord, valueWordEnd } = incoming;
    const messages = messagesIn(region.words, word, wordEnd, (valueWordEnd - valueWord) * 4);
    for (const { type, word: at } of messages) {
      if (type !== MESSAGE_CALL_OPENED) continue;
      this.#streams[session.peer.identity.memberIndex] = region.words[at + WORD_CALL_OPENED_STREAM]! >>> 0;
    }
  }

  /** Of its calls at the member; NO_STREAM while it has none. */
  streamAt(member: number): number {
    return this.#streams[member] ?? NO_STREAM;
  }
}
