import { COOKIE_HANDSHAKES_MIN, COOKIE_INTERVAL_MS, HANDSHAKES_PER_HOST_MAX } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import { COOKIE_BYTES, KIND_COOKIE, OFFSET_KIND, OFFSET_SESSION } from '../../net/wire.ts';
import { requestPayload } from '../../src/protocol/handshake-payload.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { TERMS, prologueOf, requestWithMac1, showCookie } from './handshake-request.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedProcess } from './simulated-process.ts';
import { authorityOf } from './simulated-trust.ts';

/**
 * One host that begins handshake after handshake with a replica and finishes none: it answers cookies, so that its
 * address is proved, and is bounded by its share of handshakes and of half-open sessions only.
 */
const FLOOD_HOST = '10.0.3.1';
const FLOOD_PORT = 6_000;
/**
 * In bursts, one an interval of the responder's: first more than a host gets at all (COOKIE_HANDSHAKES_MIN and then
 * HANDSHAKES_PER_HOST_MAX with a cookie), then more than it gets with cookies, until its share of half-open sessions
 * (HALF_OPEN_PER_HOST_MAX) is used up.
 */
const BURST_COUNT = 10;
const BURST_INTERVAL_MS = COOKIE_INTERVAL_MS;
const FIRST_BURST_REQUESTS = COOKIE_HANDSHAKES_MIN + HANDSHAKES_PER_HOST_MAX + 4;
const BURST_REQUESTS = 2 * HANDSHAKES_PER_HOST_MAX;
export class HandshakeFlood {
  readonly #cluster: SimulatedCluster;
  readonly #process: SimulatedProcess;
  readonly #crypto: HandshakeCrypto;
  readonly #member: ReturnType<typeof authorityOf>['configuration']['members'][number];
  readonly #modeByte: number;
  readonly #prologue: Uint8Array;
  readonly #payload: Uint8Array;
  /** By the session index that they carry. */
  readonly #requests: Uint8Array[] = [];
  #sendCount = 0;

  constructor(cluster: SimulatedCluster, memberIndex: number) {
    this.#cluster = cluster;
    const { mode, memberCount } = cluster;
    const dice = cluster.dice.split();
    const authority = authorityOf(mode, memberCount, 'client');
    this.#modeByte = SECURITY_MODES.indexOf(mode);
    this.#member = authority.configuration.members[memberIndex]!;
    this.#prologue = prologueOf(authority.clusterId, this.#modeByte);
    this.#payload = Buffer.concat([TERMS, requestPayload(1, 1, authority.certificate)]);
    const { staticKeyPair } = authority;
    this.#process = cluster.createProcess('flood', { host: FLOOD_HOST, port: FLOOD_PORT });
    const sealing = cluster.createSealing('flood', dice);
    this.#crypto = createHandshakeCrypto({ mode, staticKeyPair, sealing, randomBytes: dice.bytes });
    this.#process.run(
      {
        onDatagram: (datagram) => this.#onDatagram(datagram),
        onSent: () => {},
        turn: () => {},
        isWorkLeft: false,
        close: () => {},
        invariants: () => {},
      },
      () => Infinity,
    );
    this.#burst(FIRST_BURST_REQUESTS, BURST_COUNT - 1);
  }

  #burst(requestCount: number, leftCount: number): void {
    for (let i = 0; i < requestCount; i++) this.#send(this.#newRequest());
    this.#cluster.time.after(BURST_INTERVAL_MS, () => {
      if (leftCount > 0) this.#burst(BURST_REQUESTS, leftCount - 1);
      else this.#process.kill();
    });
  }

  #newRequest(): Uint8Array {
    const { staticKey } = this.#member;
    const { message } = this.#crypto.initiate(staticKey, this.#prologue, this.#payload);
    const request = requestWithMac1(this.#crypto, staticKey, this.#modeByte, this.#requests.length, message);
    this.#requests.push(request);
    return request;
  }

  #onDatagram(datagram: Uint8Array): void {
    // On its way it may have been cut short.
    if (datagram[OFFSET_KIND] !== KIND_COOKIE || datagram.length !== COOKIE_BYTES) return;
    const view = new DataView(datagram.buffer, datagram.byteOffset);
    const request = this.#requests[view.getUint32(OFFSET_SESSION, true)];
    if (request === undefined) return;
    showCookie(this.#crypto, request, datagram);
    this.#send(request);
  }

  #send(request: Uint8Array): void {
    const { host, port } = this.#member;
    this.#process.send(this.#sendCount++, Uint8Array.from(request), request.length, host, port);
  }
}
