import { randomBytes } from 'node:crypto';
import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Link } from '../../net/link.ts';
import type { Outgoing } from '../../net/outbox.ts';
import { UdpTransport } from '../../net/udp.ts';
import { acceptResponse, requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { datagramBytesFor, isLoopback } from '../../src/server/datagram-bytes.ts';
import { openSealing } from '../../src/server/open-sealing.ts';
import { TurnLoop } from '../../src/server/turn-loop.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { ProcessSealing } from '../../workers/process-sealing.ts';
import type { Scene } from './scene.ts';

/**
 * A client with keys and rights of its own that keeps to no protocol: it has sessions, and sends in them what it likes. What
 * is answered it does not look at.
 */
export class Insider implements EndpointApplication<Peer> {
  /** Its writer id, which the handshake binds to its sessions. */
  readonly writerHigh = randomBytes(4).readInt32LE(0);
  readonly writerLow = randomBytes(4).readInt32LE(0);
  readonly #authority: Authority;
  readonly #endpoint: Endpoint<Peer>;
  readonly #links: readonly Link<Peer>[];
  readonly #transport: UdpTransport;
  readonly #sealing: ProcessSealing;
  readonly #loop: TurnLoop;

  private constructor(authority: Authority, hosts: readonly string[], transport: UdpTransport, own: ProcessSealing) {
    const { mode, clusterId, staticKeyPair, configuration } = authority;
    const { sealing } = own;
    this.#authority = authority;
    this.#transport = transport;
    this.#sealing = own;
    this.#endpoint = new Endpoint<Peer>({
      mode,
      clusterId,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing }),
      application: this,
      datagramBytes: datagramBytesFor(hosts, undefined),
      drops: new DropCounters(),
    });
    this.#endpoint.epoch = configuration.epoch;
    this.#links = configuration.members.map(({ index, port, staticKey }) =>
      this.#endpoint.openLink(hosts[index]!, port, staticKey),
    );
    this.#loop = new TurnLoop({
      turn: (nowMs) => {
        this.#endpoint.turn(nowMs);
        this.#endpoint.tick(nowMs);
        this.#endpoint.flush(nowMs);
      },
      nextTurnMs: () => this.#endpoint.roomAtMs,
      isWorkLeft: () => this.#endpoint.isWorkLeft,
    });
    transport.start({
      onDatagram: (datagram, host, port) => {
        this.#endpoint.onDatagram(datagram, host, port);
        this.#loop.schedule();
      },
      onSent: (token, failed) => this.#endpoint.onSent(token, failed),
    });
    this.#loop.schedule();
  }

  /**
   * With a session with each replica.
   * @param authority Whose keys and rights it has.
   */
  static async open(scene: Scene, authority = scene.authority): Promise<Insider> {
    const { hosts } = scene;
    const host = hosts.every(isLoopback) ? (hosts[0]!.includes(':') ? '::1' : '127.0.0.1') : '0.0.0.0';
    const transport = await UdpTransport.open({ host, port: 0 });
    const insider = new Insider(authority, hosts, transport, await openSealing(authority, {}));
    await scene.until(() => insider.#links.every(({ session }) => session !== undefined));
    return insider;
  }

  /** Puts a message into the next datagram to a member; false when nothing can be sent to it now. All bytes are zero before. */
  send(member: number, controlBytes: number, valueBytes: number, write: (out: Outgoing) => void): boolean {
    const { session } = this.#links[member]!;
    if (session === undefined || !this.#endpoint.append(session, controlBytes, valueBytes)) return false;
    const { out } = this.#endpoint;
    out.control.words.fill(0, out.word, out.word + controlBytes / 4);
    out.packet.words.fill(0, out.valueWord, out.valueWord + valueBytes / 4);
    write(out);
    this.#loop.schedule();
    return true;
  }

  async close(): Promise<void> {
    this.#loop.close();
    this.#endpoint.close();
    await this.#transport.close();
    await this.#sealing.close();
  }

  requestPayload(): Uint8Array {
    return requestPayload(this.writerHigh, this.writerLow, this.#authority.certificate);
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  admit(): Admission<Peer> {
    return { ok: false, reason: 'it takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(this.#links.indexOf(link), payload, link.staticKey);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(): void {}

  onMessages(): void {}
}
