import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Link } from '../../net/link.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import type { Transport } from '../../net/transport.ts';
import { acceptResponse, requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import type { Authority } from '../../src/trust/authority.ts';
import type { Sealing } from '../../workers/sealing.ts';
import type { Dice } from '../cluster/dice.ts';
import { hostileMessage } from './messages.ts';

export interface HostileClientOptions {
  readonly authority: Authority;
  readonly memberIndex: number;
  readonly host: string;
  readonly transport: Transport;
  readonly sealing: Sealing;
  readonly crypto: HandshakeCrypto;
  readonly datagramBytes: number;
  readonly dice: Dice;
}

const EPOCHS = [0, 2, 2 ** 31, 2 ** 32 - 1];

/** A client with valid keys, real sessions and no manners: what it says inside them is hostile. */
export class HostileClient implements EndpointApplication<Peer> {
  readonly endpoint: Endpoint<Peer>;
  /** Messages sent. */
  sentCount = 0;
  readonly #options: HostileClientOptions;
  readonly #link: Link<Peer>;
  readonly #payload: Uint8Array;
  readonly #writerLow: number;

  constructor(options: HostileClientOptions) {
    this.#options = options;
    const { authority, dice, memberIndex } = options;
    const { mode, clusterId, configuration, certificate } = authority;
    this.#writerLow = dice.integer(1, 2 ** 31 - 1);
    this.#payload = requestPayload(0, this.#writerLow, certificate);
    this.endpoint = new Endpoint<Peer>({ ...options, mode, clusterId, application: this, drops: new DropCounters() });
    const member = configuration.members[memberIndex]!;
    this.#link = this.endpoint.openLink(options.host, member.port, member.staticKey);
  }

  get isConnected(): boolean {
    return this.#link.session?.canSend() === true;
  }

  /** One datagram's worth of hostile messages; sent by the end of the turn. */
  say(): void {
    const { dice, authority } = this.#options;
    const session = this.#link.session;
    if (session?.canSend() !== true) return;
    this.endpoint.epoch = dice.chance(0.9) ? authority.configuration.epoch : dice.pick(EPOCHS);
    for (let i = dice.integer(1, 6); i > 0; i--) {
      const { control, value } = hostileMessage(dice, this.#writerLow);
      if (!this.endpoint.append(session, control.byteLength, value.length)) continue;
      const { out } = this.endpoint;
      out.control.words.set(control, out.word);
      out.packet.bytes.set(value, out.valueWord * 4);
      this.sentCount++;
    }
  }

  readonly isWorkLeft = false;

  turn(nowMs: number): void {
    this.endpoint.turn(nowMs);
    this.endpoint.tick(nowMs);
    this.endpoint.flush(nowMs);
  }

  onDatagram(datagram: Uint8Array, host: string, port: number): void {
    this.endpoint.onDatagram(datagram, host, port);
  }

  onSent(token: number, failed: boolean): void {
    this.endpoint.onSent(token, failed);
  }

  close(): void {
    this.endpoint.close();
  }

  invariants(): void {
    this.endpoint.invariants();
  }

  // -- EndpointApplication ----------------------------------------------------------------------------------------

  requestPayload(): Uint8Array {
    return this.#payload;
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  admit(): Admission<Peer> {
    return { ok: false, reason: 'it takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.#options.memberIndex, payload, link.staticKey);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(): void {}

  onMessages(): void {}
}
