import { alignUp, writeU53 } from '../../net/bytes.ts';
import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication } from '../../net/endpoint.ts';
import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/link.ts';
import { acceptResponse, requestPayload } from '../../src/protocol/handshake-payload.ts';
import {
  ASK_BYTES,
  FLAG_TOMBSTONE,
  MESSAGE_READ,
  MESSAGE_STAMP,
  MESSAGE_WRITE,
  WORD_ASK_KEY,
  WORD_ENVELOPE_BYTES,
  WORD_KEY_BYTES,
  WORD_WRITE_COUNTER,
  WORD_WRITE_KEY,
  WRITE_BYTES,
  messageBytes,
  typeOf,
  writeHead,
} from '../../src/protocol/messages.ts';
import type { Peer } from '../../src/protocol/peer.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { SimulatedProcess } from './simulated-process.ts';
import { authorityOf } from './simulated-trust.ts';

const KEY = Buffer.from('probe');

/**
 * A client that asks one replica whatever it likes, and doesn't care whether that belongs to its cluster instance: what
 * a careless or hostile client could try. It notes the types of all that comes back.
 */
export class Prober implements EndpointApplication<Peer> {
  readonly answers: number[] = [];
  readonly #process: SimulatedProcess;
  readonly #endpoint: Endpoint<Peer>;
  readonly #link: Link<Peer>;
  readonly #epoch: number;

  constructor(cluster: SimulatedCluster, memberIndex: number, port: number) {
    const dice = cluster.dice.split();
    const authority = authorityOf(cluster.mode, cluster.memberCount, 'client');
    const sealing = cluster.createSealing('prober', dice);
    const { mode, clusterId, staticKeyPair, configuration } = authority;
    this.#process = new SimulatedProcess(cluster.time, cluster.network, dice, { host: '10.0.2.1', port });
    this.#epoch = configuration.epoch;
    this.#endpoint = new Endpoint<Peer>({
      mode,
      clusterId,
      transport: this.#process,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing, randomBytes: dice.bytes }),
      application: this,
      datagramBytes: 1_200,
      drops: new DropCounters(),
    });
    this.#endpoint.epoch = this.#epoch;
    const member = configuration.members[memberIndex]!;
    this.#link = this.#endpoint.openLink(member.host, member.port, member.staticKey);
    this.#process.runEndpoint(this.#endpoint);
  }

  get isConnected(): boolean {
    return this.#link.session !== undefined;
  }

  /** READ, STAMP and WRITE of one key. */
  ask(): void {
    const session = this.#link.session!;
    const { out } = this.#endpoint;
    const keyBytes = alignUp(KEY.length);
    for (const type of [MESSAGE_READ, MESSAGE_STAMP, MESSAGE_WRITE]) {
      const isWrite = type === MESSAGE_WRITE;
      const byteCount = (isWrite ? WRITE_BYTES : ASK_BYTES) + keyBytes;
      if (!this.#endpoint.append(session, byteCount, 0)) throw new Error('the session takes messages');
      const { words, bytes } = out.control;
      words.fill(0, out.word, out.word + byteCount / 4);
      writeHead(words, out.word, type, isWrite ? FLAG_TOMBSTONE : 0, 0, 1);
      words[out.word + WORD_KEY_BYTES] = KEY.length;
      words[out.word + WORD_ENVELOPE_BYTES] = 0;
      // The writer is the one that the handshake named: zero.
      if (isWrite) writeU53(words, out.word + WORD_WRITE_COUNTER, 1);
      bytes.set(KEY, 4 * (out.word + (isWrite ? WORD_WRITE_KEY : WORD_ASK_KEY)));
    }
    this.#process.schedule();
  }

  requestPayload(): Uint8Array {
    return requestPayload(0, 0, authorityOf('secure', 1, 'client').certificate);
  }

  responsePayload(): Uint8Array {
    return new Uint8Array(0);
  }

  admit(): Admission<Peer> {
    return { ok: false, reason: 'it takes no sessions' };
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    return acceptResponse(0, payload, link.staticKey);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(): void {}

  onMessages({ region, word, wordEnd, valueWord, valueWordEnd }: Incoming<Peer>): void {
    for (let at = word; at < wordEnd; ) {
      this.answers.push(typeOf(region.words, at));
      at += messageBytes(region.words, at, wordEnd, (valueWordEnd - valueWord) * 4) / 4;
    }
  }
}
