import { COOKIE_HANDSHAKES_MIN, COOKIE_INTERVAL_MS, HANDSHAKES_PER_HOST_MAX, WIRE_VERSION } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import {
  COOKIE_OFFSET,
  KIND_COOKIE,
  KIND_REQUEST,
  MAC_BYTES,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_SESSION,
  OFFSET_VERSION,
  REQUEST_HEADER_BYTES,
} from '../../net/wire.ts';
import { requestPayload } from '../../src/protocol/handshake-payload.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
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
/** Largest datagram u32, credit u32 (net/handshakes.ts). */
const TERMS = new Uint32Array([1_200, 100_000]);

export class HandshakeFlood {
  readonly #cluster: SimulatedCluster;
  readonly #process: SimulatedProcess;
  readonly #crypto: HandshakeCrypto;
  readonly #member: ReturnType<typeof authorityOf>['configuration']['members'][number];
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
    const modeByte = SECURITY_MODES.indexOf(mode);
    this.#member = authority.configuration.members[memberIndex]!;
    this.#prologue = Uint8Array.of(...authority.clusterId, WIRE_VERSION, modeByte);
    this.#payload = Buffer.concat([new Uint8Array(TERMS.buffer), requestPayload(1, 1, authority.certificate)]);
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
    const { message } = this.#crypto.initiate(this.#member.staticKey, this.#prologue, this.#payload);
    const request = new Uint8Array(REQUEST_HEADER_BYTES + message.length + 2 * MAC_BYTES);
    request[OFFSET_KIND] = KIND_REQUEST;
    request[OFFSET_VERSION] = WIRE_VERSION;
    request[OFFSET_MODE] = this.#prologue.at(-1)!;
    new DataView(request.buffer).setUint32(OFFSET_SESSION, this.#requests.length, true);
    request.set(message, REQUEST_HEADER_BYTES);
    const mac1 = this.#crypto.mac1(this.#member.staticKey, request.subarray(0, -2 * MAC_BYTES));
    request.set(mac1, request.length - 2 * MAC_BYTES);
    this.#requests.push(request);
    return request;
  }

  #onDatagram(datagram: Uint8Array): void {
    if (datagram[OFFSET_KIND] !== KIND_COOKIE) return;
    const view = new DataView(datagram.buffer, datagram.byteOffset);
    const request = this.#requests[view.getUint32(OFFSET_SESSION, true)];
    if (request === undefined) return;
    const secret = new Uint8Array(32);
    secret.set(datagram.subarray(COOKIE_OFFSET, COOKIE_OFFSET + MAC_BYTES));
    request.set(this.#crypto.mac(secret, request.subarray(0, -MAC_BYTES)), request.length - MAC_BYTES);
    this.#send(request);
  }

  #send(request: Uint8Array): void {
    const { host, port } = this.#member;
    this.#process.send(this.#sendCount++, Uint8Array.from(request), request.length, host, port);
  }
}
