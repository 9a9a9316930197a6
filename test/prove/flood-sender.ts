/**
 * A process that floods replicas with requests for handshakes, from addresses that are not its own as far as they can
 * tell: it never shows a cookie and never goes on with a handshake. Bounded in rate and time; it ends with the process that
 * has started it. Options come as JSON in the first argument; it says when it is ready, floods for so long when it gets a
 * message, and reports then what it has sent and received so far.
 */
import { randomBytes } from 'node:crypto';
import { SECURITY_MODES } from '../../net/mode.ts';
import { UdpTransport } from '../../net/udp.ts';
import { KIND_COOKIE, KIND_HINT, KIND_RESPONSE, OFFSET_KIND, OFFSET_SENDER_SESSION } from '../../net/wire.ts';
import { requestPayload } from '../../src/protocol/handshake-payload.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { openAuthority } from '../../src/trust/open-authority.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import { generateStaticKeyPair } from '../../workers/signing.ts';
import { TERMS, prologueOf, requestWithMac1 } from '../cluster/handshake-request.ts';

export interface FloodOptions {
  readonly clusterDirectory: string;
  /** To all replicas together. */
  readonly datagramsPerSec: number;
  readonly forMs: number;
  readonly sources: number;
  readonly sinkPort: number;
}

/**
 * All recipes in turn, or the one that costs replicas most for as long as it goes on: what is repeated of clients'
 * handshakes leaves half-open sessions, and because of these everybody needs a cookie soon. To the sink: the same as
 * uncertified ones, at a port where nobody reads, which is what the sender by itself takes of the machine.
 */
export type FloodKind = 'mixed' | 'uncertified' | 'sink';

export interface FloodReport extends Readonly<Answers> {
  readonly type: 'ended';
  /** To replicas. */
  readonly sent: number;
  /** Half-open sessions that the answers named: when each was named first, by member. */
  readonly sessionsMs: readonly (readonly number[])[];
}

/**
 * What a flood is made of, in turn. Without the replica's static key: no mac1. With it, which is public: nonsense under the
 * right mac1; a handshake under keys that nobody has certified. And what the network has overheard: the first message of
 * a client's handshake, which any address can repeat.
 */
type Recipe = (member: Authority['configuration']['members'][number]) => Uint8Array;

/** The place in what recipesOf() gives. */
const UNCERTIFIED = 2;
const REQUESTS_PER_RECIPE = 64;
const SINK_HOST = '127.0.0.1';
const TICK_MS = 1;
/** No buffer is used again. */
const TOKEN = 0;
/** What was not sent in time because the machine is busy isn't made up for: the rate is a bound. */
const CATCH_UP_TICKS = 5;

function recipesOf(authority: Authority): Recipe[] {
  const { mode, clusterId, certificate } = authority;
  const modeByte = SECURITY_MODES.indexOf(mode);
  const prologue = prologueOf(clusterId, modeByte);
  const sealing = createInlineSealing({ mode, dataKeys: authority.dataKeys });
  const crypto = createHandshakeCrypto({ mode, staticKeyPair: authority.staticKeyPair, sealing });
  const stranger = createHandshakeCrypto({ mode, staticKeyPair: generateStaticKeyPair(), sealing });
  const payload = Buffer.concat([TERMS, requestPayload(1, 1, certificate)]);
  const strangersPayload = Buffer.concat([TERMS, requestPayload(1, 1, randomBytes(certificate.length))]);
  const messageBytes = crypto.requestOverheadBytes + payload.length;
  let sessionIndex = 0;
  return [
    ({ staticKey }) => {
      const request = requestWithMac1(crypto, staticKey, modeByte, sessionIndex++, randomBytes(messageBytes));
      request[request.length - 20]! ^= 1;
      return request;
    },
    ({ staticKey }) => requestWithMac1(crypto, staticKey, modeByte, sessionIndex++, randomBytes(messageBytes)),
    ({ staticKey }) => {
      const { message } = stranger.initiate(staticKey, prologue, strangersPayload);
      return requestWithMac1(crypto, staticKey, modeByte, sessionIndex++, message);
    },
    ({ staticKey }) => {
      const { message } = crypto.initiate(staticKey, prologue, payload);
      return requestWithMac1(crypto, staticKey, modeByte, sessionIndex++, message);
    },
  ];
}

/** 127.0.0.0/8 is all this machine's own; 127.0.0.1 is left to honest clients. */
function sourceHost(index: number): string {
  return `127.66.${index >> 8}.${index & 0xff || 255}`;
}

interface Answers {
  cookies: number;
  hints: number;
  responses: number;
  /** Anything else would mean that a replica takes the sender for a client. */
  others: number;
}

class Flood {
  readonly #options: FloodOptions;
  readonly #members: Authority['configuration']['members'];
  /** By member, recipe and copy. */
  readonly #requests: readonly (readonly (readonly Uint8Array[])[])[];
  readonly #sources: UdpTransport[] = [];
  readonly #answers: Answers = { cookies: 0, hints: 0, responses: 0, others: 0 };
  readonly #sessionsMs: Map<number, number>[];
  #sent = 0;
  #sentToSink = 0;

  private constructor(options: FloodOptions) {
    const authority = openAuthority(options.clusterDirectory, { role: 'client' });
    const recipes = recipesOf(authority);
    this.#options = options;
    this.#members = authority.configuration.members;
    this.#requests = this.#members.map((member) =>
      recipes.map((recipe) => Array.from({ length: REQUESTS_PER_RECIPE }, () => recipe(member))),
    );
    this.#sessionsMs = this.#members.map(() => new Map<number, number>());
  }

  static async open(options: FloodOptions): Promise<Flood> {
    const flood = new Flood(options);
    for (let i = 0; i < options.sources; i++) {
      const source = await UdpTransport.open({ host: sourceHost(i), port: 0 });
      source.start({ onDatagram: (datagram, _host, port) => flood.#onAnswer(datagram, port), onSent: () => {} });
      flood.#sources.push(source);
    }
    return flood;
  }

  async run(kind: FloodKind): Promise<void> {
    const only = kind === 'mixed' ? undefined : UNCERTIFIED;
    const { datagramsPerSec, forMs } = this.#options;
    const dueMax = (datagramsPerSec / 1_000) * TICK_MS * CATCH_UP_TICKS;
    const startMs = performance.now();
    let tickedMs = startMs;
    let due = 0;
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const nowMs = performance.now();
        due = Math.min(due + ((nowMs - tickedMs) / 1_000) * datagramsPerSec, dueMax);
        tickedMs = nowMs;
        for (; due >= 1; due--) {
          if (kind === 'sink') this.#sendToSink();
          else this.#sendNext(only);
        }
        if (nowMs - startMs < forMs) return;
        clearInterval(timer);
        resolve();
      }, TICK_MS);
    });
  }

  get report(): FloodReport {
    const sessionsMs = this.#sessionsMs.map((ofMember) => [...ofMember.values()]);
    return { type: 'ended', sent: this.#sent, ...this.#answers, sessionsMs };
  }

  #sendToSink(): void {
    const copies = this.#requests[0]![UNCERTIFIED]!;
    const request = copies[this.#sentToSink++ % copies.length]!;
    this.#anySource().send(TOKEN, request, request.length, SINK_HOST, this.#options.sinkPort);
  }

  #anySource(): UdpTransport {
    return this.#sources[Math.floor(Math.random() * this.#sources.length)]!;
  }

  #sendNext(only: number | undefined): void {
    const { index, host, port } = this.#members[this.#sent % this.#members.length]!;
    const round = Math.floor(this.#sent / this.#members.length);
    const recipes = this.#requests[index]!;
    const copies = recipes[only ?? round % recipes.length]!;
    const request = copies[Math.floor(round / recipes.length) % copies.length]!;
    this.#anySource().send(TOKEN, request, request.length, host, port);
    this.#sent++;
  }

  #onAnswer(datagram: Uint8Array, port: number): void {
    const answers = this.#answers;
    const kind = datagram[OFFSET_KIND];
    if (kind === KIND_COOKIE) answers.cookies++;
    else if (kind === KIND_HINT) answers.hints++;
    else if (kind === KIND_RESPONSE) {
      answers.responses++;
      const session = new DataView(datagram.buffer, datagram.byteOffset).getUint32(OFFSET_SENDER_SESSION, true);
      const seenMs = this.#sessionsMs[this.#members.findIndex((member) => member.port === port)]!;
      if (!seenMs.has(session)) seenMs.set(session, performance.now());
    } else answers.others++;
  }
}

// Told to begin by each message; with the process that it belongs to it ends.
process.once('disconnect', () => process.exit());
const flood = await Flood.open(JSON.parse(process.argv[2]!) as FloodOptions);
process.on('message', (kind: FloodKind) => void flood.run(kind).then(() => process.send!(flood.report)));
process.send!({ type: 'ready' });
