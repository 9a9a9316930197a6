/**
 * Endpoints with real cryptography on a network in memory, and a clock that only the test moves. A message of these
 * tests is one number (8 bytes of control part) and a value.
 */
import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { DropCounters } from '../../net/drops.ts';
import type { DropReason } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/link.ts';
import { DATAGRAM_BYTES_ETHERNET } from '../../net/limits.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { Session } from '../../net/session.ts';
import { OFFSET_KIND } from '../../net/wire.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { KeyHandle, KeyRegistry, Sealing } from '../../workers/sealing.ts';
import type { KeyPair } from '../../workers/sodium.ts';
import { x25519PublicKey } from '../../workers/sodium.ts';
import { seededBytes } from '../workers/random.ts';
import { MemoryNetwork } from './memory-transport.ts';
import type { MemoryDatagram, MemoryTransport } from './memory-transport.ts';

export const CLUSTER_ID = seededBytes(16, 99);
export const MESSAGE_BYTES = 8;
const REQUEST_PAYLOAD_BYTES = 40;
const RESPONSE_PAYLOAD_BYTES = 24;
/** Turns of a step: each looks at a few requests of strangers, and the next follows at once while there are more. */
const TURNS_MAX = 12;

export interface TestPeer {
  readonly name: string;
}

export interface Received {
  readonly number: number;
  readonly value: Uint8Array;
  readonly session: Session<TestPeer>;
  readonly epoch: number;
}

export interface EndOptions {
  readonly mode?: SecurityMode;
  readonly clusterId?: Uint8Array;
  readonly datagramBytes?: number;
  readonly receiveBufferBytes?: number;
  /** Ephemeral keys and cookie secrets; default: the system's random source. */
  readonly randomBytes?: (count: number) => Uint8Array;
  wrapSealing?(sealing: Sealing & KeyRegistry): Sealing & KeyRegistry;
}

/** Seeds of static keys: one a name. */
export function keyPairOf(name: string): KeyPair {
  const seed = Buffer.from(name).reduce((sum, byte) => sum * 31 + byte, 7);
  const secretKey = seededBytes(32, seed);
  return { secretKey, publicKey: x25519PublicKey(secretKey) };
}

export class TestEnd implements EndpointApplication<TestPeer> {
  readonly name: string;
  readonly keyPair: KeyPair;
  readonly transport: MemoryTransport;
  readonly drops = new DropCounters();
  readonly endpoint: Endpoint<TestPeer>;
  readonly received: Received[] = [];
  readonly live: Session<TestPeer>[] = [];
  /** Keys imported and not erased yet. */
  readonly keys = new Set<KeyHandle>();
  /** When set, every peer is refused. */
  refusal: string | undefined;
  /** Called with each message; for answers. */
  onMessage: ((received: Received) => void) | undefined;
  handshakeCount = 0;
  /** Said of each datagram of messages. */
  isSpent = false;

  constructor(network: MemoryNetwork, name: string, port: number, options: EndOptions) {
    const { mode = 'secure' } = options;
    this.name = name;
    this.keyPair = keyPairOf(name);
    this.transport = network.open('10.0.0.1', port, options.receiveBufferBytes);
    const dataKey = seededBytes(32, 1);
    const inline = createInlineSealing({ mode, dataKeys: DataKeyRing.of(1, dataKey) });
    const sealing = this.#countKeys(options.wrapSealing?.(inline) ?? inline);
    const crypto = createHandshakeCrypto({
      mode,
      staticKeyPair: this.keyPair,
      sealing,
      ...(options.randomBytes !== undefined && { randomBytes: options.randomBytes }),
    });
    this.endpoint = new Endpoint<TestPeer>({
      mode,
      clusterId: options.clusterId ?? CLUSTER_ID,
      transport: this.transport,
      sealing,
      crypto: {
        ...crypto,
        initiate: (...args) => {
          this.handshakeCount++;
          return crypto.initiate(...args);
        },
        receive: (...args) => {
          this.handshakeCount++;
          return crypto.receive(...args);
        },
      },
      application: this,
      datagramBytes: options.datagramBytes ?? DATAGRAM_BYTES_ETHERNET,
      drops: this.drops,
    });
    this.transport.start(this.endpoint);
  }

  linkTo(other: TestEnd): Link<TestPeer> {
    return this.endpoint.openLink(other.transport.host, other.transport.port, other.keyPair.publicKey);
  }

  /** False when the endpoint takes nothing now. */
  send(session: Session<TestPeer>, number: number, value: Uint8Array = new Uint8Array(0)): boolean {
    if (!this.endpoint.append(session, MESSAGE_BYTES, value.length)) return false;
    const { control, word, packet, valueWord } = this.endpoint.out;
    control.words[word] = number;
    control.words[word + 1] = value.length;
    const start = valueWord * 4;
    packet.bytes.fill(0, start, start + ((value.length + 7) & ~7));
    packet.bytes.set(value, start);
    return true;
  }

  get numbers(): number[] {
    return this.received.map(({ number }) => number);
  }

  /** Reasons to drop that were counted, and nothing else. */
  assertDrops(expected: Partial<Record<DropReason, number>>): void {
    assert.deepEqual(this.drops.nonZero(), expected, `drops of ${this.name}`);
  }

  // -- EndpointApplication ------------------------------------------------------------------------------------------

  requestPayload(): Uint8Array {
    return padded(this.name, REQUEST_PAYLOAD_BYTES);
  }

  responsePayload(): Uint8Array {
    return padded(this.name, RESPONSE_PAYLOAD_BYTES);
  }

  admit(payload: Uint8Array): Admission<TestPeer> {
    return this.#judge(payload);
  }

  accept(_link: Link<TestPeer>, payload: Uint8Array): Admission<TestPeer> {
    return this.#judge(payload);
  }

  peerKey(peer: TestPeer): string {
    return peer.name;
  }

  onSessionLive(session: Session<TestPeer>): void {
    this.live.push(session);
  }

  onMessages(incoming: Incoming<TestPeer>): void {
    const { words, bytes } = incoming.region;
    let { valueWord } = incoming;
    for (let word = incoming.word; word < incoming.wordEnd; word += MESSAGE_BYTES / 4) {
      const valueBytes = words[word + 1]!;
      const value = bytes.slice(valueWord * 4, valueWord * 4 + valueBytes);
      const received = { number: words[word]!, value, session: incoming.session, epoch: incoming.epoch };
      this.received.push(received);
      this.onMessage?.(received);
      valueWord += ((valueBytes + 7) & ~7) >> 2;
    }
    assert.equal(valueWord, incoming.valueWordEnd, 'the value part holds exactly the values');
    incoming.isSpent = this.isSpent;
  }

  #judge(payload: Uint8Array): Admission<TestPeer> {
    if (this.refusal !== undefined) return { ok: false, reason: this.refusal };
    return { ok: true, peer: { name: Buffer.from(payload).toString().replaceAll('\0', '') } };
  }

  #countKeys(sealing: Sealing & KeyRegistry): Sealing & KeyRegistry {
    const importKey = sealing.importKey.bind(sealing);
    const eraseKey = sealing.eraseKey.bind(sealing);
    sealing.importKey = (key) => {
      const handle = importKey(key);
      this.keys.add(handle);
      return handle;
    };
    sealing.eraseKey = (handle) => {
      assert.ok(this.keys.delete(handle), 'a key is erased once');
      eraseKey(handle);
    };
    return sealing;
  }
}

/** Ends on one network, under one clock. */
export class TestWorld {
  readonly network = new MemoryNetwork();
  readonly ends: TestEnd[] = [];
  /** Every datagram that was sent, when somebody wants to know. */
  sent: MemoryDatagram[] | undefined;
  nowMs = 1_000;

  constructor() {
    this.network.onSend = (datagram) => this.sent?.push(datagram);
  }

  open(name: string, options: EndOptions = {}): TestEnd {
    const end = new TestEnd(this.network, name, 7_000 + this.ends.length, options);
    this.ends.push(end);
    return end;
  }

  /** What has arrived after so many milliseconds is handled by every end. */
  step(ms = 1): void {
    this.nowMs += ms;
    this.network.deliver(this.nowMs);
    for (const { endpoint } of this.ends) {
      endpoint.turn(this.nowMs);
      endpoint.tick(this.nowMs);
      endpoint.flush(this.nowMs);
      for (let turns = 1; endpoint.isWorkLeft && turns < TURNS_MAX; turns++) endpoint.flush(this.nowMs);
      endpoint.invariants();
    }
  }

  run(ms: number, stepMs = 1): void {
    for (let passed = 0; passed < ms; passed += stepMs) this.step(stepMs);
  }

  until(condition: () => boolean, msMax = 60_000): void {
    for (let passed = 0; !condition(); passed++) {
      assert.ok(passed < msMax, 'it never happened');
      this.step();
    }
  }

  /** Records what is sent while the body runs. */
  record(body: () => void): MemoryDatagram[] {
    const sent: MemoryDatagram[] = [];
    this.sent = sent;
    body();
    this.sent = undefined;
    return sent;
  }
}

export function kindOf(datagram: MemoryDatagram): number {
  return datagram.bytes[OFFSET_KIND]!;
}

export interface Pair {
  readonly world: TestWorld;
  readonly a: TestEnd;
  readonly b: TestEnd;
  /** From a to b. */
  readonly link: Link<TestPeer>;
}

/** a has a link to b; nothing was sent yet. */
export function openPair(options: EndOptions = {}, optionsB: EndOptions = options): Pair {
  const world = new TestWorld();
  const a = world.open('a', options);
  const b = world.open('b', optionsB);
  return { world, a, b, link: a.linkTo(b) };
}

/** The same with a live session at both ends, and counters at zero but for the cookie that plaintext asks for. */
export function connectPair(
  options: EndOptions = {},
  optionsB: EndOptions = options,
): Pair & { session: Session<TestPeer> } {
  const pair = openPair(options, optionsB);
  pair.world.until(() => pair.b.live.length === 1);
  pair.world.run(12);
  return { ...pair, session: pair.link.session! };
}

function padded(text: string, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  bytes.set(Buffer.from(text));
  return bytes;
}
