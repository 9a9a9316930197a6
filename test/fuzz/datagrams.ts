/**
 * Hostile datagrams by someone who knows docs/wire.md and has recorded what passed: valid ones with a field changed, cut,
 * lengthened, spliced and replayed, handshakes with a right mac1 around garbage, cookies and hints, and handshakes that
 * are begun and never finished.
 */
import { regionOf, writeU53, readU53 } from '../../net/bytes.ts';
import { WIRE_VERSION } from '../../net/limits.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { HandshakeCrypto } from '../../net/sealing.ts';
import {
  COOKIE_BYTES,
  COOKIE_OFFSET,
  HEADER_BYTES,
  HINT_BYTES,
  HINT_ECHO_OFFSET,
  HINT_REASONS,
  KIND_COOKIE,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  MAC_BYTES,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_REASON,
  OFFSET_SESSION,
  OFFSET_VERSION,
  REQUEST_HEADER_BYTES,
} from '../../net/wire.ts';
import type { Dice } from '../cluster/dice.ts';

export interface HostileDatagram {
  readonly name: string;
  readonly datagram: Uint8Array;
  /** Which address it is to come from: a peer's, or one of many that the victim does not know. */
  readonly from: 'peer' | number;
}

export interface DatagramFuzzOptions {
  readonly dice: Dice;
  readonly mode: SecurityMode;
  readonly clusterId: Uint8Array;
  readonly victimStaticKey: Uint8Array;
  /** Of somebody whom the victim admits. */
  readonly crypto: HandshakeCrypto;
  requestPayload(): Uint8Array;
}

/** What is remembered of each kind. */
const RECORDED_MAX = 256;
const STRANGER_COUNT = 200;
const NOISE_BYTES_MAX = 2_000;
const TERMS_BYTES = 8;
const WORD_NUMBER = 2;
const WORD_VALUE_BYTES = 4;
const WINDOW_EDGES = [1, -1, 31, 32, 8_127, 8_128, 8_129, -8_127, -8_128, -8_129];
const NUMBER_EDGES = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 36, 2 ** 53 - 1];
const WORD_EDGES = [0, 1, 7, 8, 16, 24, 2 ** 31 - 8, 2 ** 31 - 1, -(2 ** 31), -8, -1];

type Maker = (fuzz: DatagramFuzz, recorded: Uint8Array) => Uint8Array;

/** By name, with weight: those that cost the victim a Diffie-Hellman are rarer. */
const makers: readonly (readonly [name: string, weight: number, make: Maker])[] = [
  ['noise', 3, ({ dice }) => dice.bytes(dice.integer(0, dice.chance(0.5) ? 64 : NOISE_BYTES_MAX))],
  ['noise of a kind', 6, (fuzz) => fuzz.noiseOfAKind()],
  ['replayed', 4, (_, recorded) => recorded],
  ['cut', 4, ({ dice }, recorded) => recorded.subarray(0, dice.integer(0, recorded.length))],
  ['cut by words', 3, ({ dice }, recorded) => recorded.subarray(0, dice.integer(0, recorded.length >> 3) * 8)],
  ['lengthened', 3, (fuzz, recorded) => fuzz.lengthened(recorded)],
  ['bits flipped', 6, (fuzz, recorded) => fuzz.withFlippedBits(recorded)],
  ['spliced', 4, (fuzz, recorded) => fuzz.spliced(recorded)],
  ['kind or version', 4, (fuzz, recorded) => fuzz.withByte(recorded, [OFFSET_KIND, OFFSET_VERSION])],
  ['mode or reason', 2, (fuzz, recorded) => fuzz.withByte(recorded, [OFFSET_MODE, OFFSET_REASON])],
  ['header word', 6, (fuzz, recorded) => fuzz.withWord(recorded)],
  ['packet number', 8, (fuzz, recorded) => fuzz.withNumber(recorded)],
  ['value length', 8, (fuzz, recorded) => fuzz.withValueLength(recorded)],
  ['mac1 around garbage', 3, (fuzz) => fuzz.signedGarbage()],
  ['mac1 around a changed handshake', 2, (fuzz) => fuzz.signedChange()],
  ['certificate of garbage', 1, (fuzz) => fuzz.request(fuzz.withFlippedBits(fuzz.payload()))],
  ['begun and left', 2, (fuzz) => fuzz.request(fuzz.payload())],
  ['cookie', 2, (fuzz) => fuzz.cookie()],
  ['hint', 2, (fuzz) => fuzz.hint()],
];
const weightSum = makers.reduce((sum, [, weight]) => sum + weight, 0);

export class DatagramFuzz {
  readonly dice: Dice;
  readonly #options: DatagramFuzzOptions;
  readonly #recorded: Uint8Array[] = [];
  readonly #requests: Uint8Array[] = [];
  /** Cookies that strangers were given, by number. */
  readonly #cookies = new Map<number, Uint8Array>();
  readonly #prologue: Uint8Array;
  #stranger = 0;

  constructor(options: DatagramFuzzOptions) {
    this.#options = options;
    this.dice = options.dice;
    this.#prologue = Uint8Array.of(...options.clusterId, WIRE_VERSION, SECURITY_MODES.indexOf(options.mode));
  }

  get recordedCount(): number {
    return this.#recorded.length;
  }

  /** A datagram to the victim, or from it to a peer; copied. */
  record(datagram: Uint8Array): void {
    const list = datagram[OFFSET_KIND] === KIND_REQUEST ? this.#requests : this.#recorded;
    if (list.length < RECORDED_MAX) list.push(Uint8Array.from(datagram));
    else list[this.dice.integer(0, RECORDED_MAX - 1)] = Uint8Array.from(datagram);
  }

  /** What the victim answered to a stranger: its cookie is echoed from then on. */
  onAnswer(stranger: number, datagram: Uint8Array): void {
    if (datagram[OFFSET_KIND] !== KIND_COOKIE || datagram.length !== COOKIE_BYTES) return;
    this.#cookies.set(stranger, datagram.slice(COOKIE_OFFSET, COOKIE_OFFSET + MAC_BYTES));
  }

  next(): HostileDatagram {
    const { dice } = this;
    this.#stranger = dice.integer(0, STRANGER_COUNT - 1);
    const from = dice.chance(0.5) ? 'peer' : this.#stranger;
    let left = dice.between(0, weightSum);
    const [name, , make] = makers.find(([, weight]) => (left -= weight) < 0) ?? makers[0]!;
    const recorded = dice.chance(0.15) ? this.#aRequest() : dice.pick(this.#recorded);
    return { name, datagram: Uint8Array.from(make(this, Uint8Array.from(recorded))), from };
  }

  // -- changes ----------------------------------------------------------------------------------------------------

  noiseOfAKind(): Uint8Array {
    const { dice } = this;
    const bytes = dice.bytes(8 * dice.integer(0, 60));
    bytes.set(Uint8Array.of(dice.integer(0, 6), WIRE_VERSION, 0, 0).subarray(0, bytes.length));
    return bytes;
  }

  lengthened(recorded: Uint8Array): Uint8Array {
    return Buffer.concat([recorded, this.dice.bytes(this.dice.pick([1, 7, 8, 16, 24, 64, 1_000]))]);
  }

  withFlippedBits(bytes: Uint8Array): Uint8Array {
    const { dice } = this;
    const changed = Uint8Array.from(bytes);
    for (let i = dice.integer(1, 8); i > 0; i--) changed[dice.integer(0, bytes.length - 1)]! ^= 1 << dice.integer(0, 7);
    return changed;
  }

  spliced(recorded: Uint8Array): Uint8Array {
    const other = this.dice.pick(this.#recorded);
    const at = 8 * this.dice.integer(0, Math.min(recorded.length, other.length) >> 3);
    return Buffer.concat([recorded.subarray(0, at), other.subarray(at)]);
  }

  withByte(recorded: Uint8Array, offsets: readonly number[]): Uint8Array {
    recorded[this.dice.pick(offsets)] = this.dice.chance(0.3) ? this.dice.integer(0, 6) : this.dice.integer(0, 255);
    return recorded;
  }

  withWord(recorded: Uint8Array): Uint8Array {
    const { words } = regionOf(recorded.buffer);
    words[this.dice.integer(0, Math.min(HEADER_BYTES / 4, words.length) - 1)] = this.#word();
    return recorded;
  }

  withNumber(recorded: Uint8Array): Uint8Array {
    const { dice } = this;
    const { words } = regionOf(recorded.buffer);
    const number = readU53(words, WORD_NUMBER);
    const edge = dice.chance(0.5) ? number + dice.pick(WINDOW_EDGES) : dice.pick(NUMBER_EDGES);
    if (edge >= 0 && Number.isSafeInteger(edge)) writeU53(words, WORD_NUMBER, edge);
    else words[WORD_NUMBER + 1] = dice.pick([-1, 2 ** 21, 2 ** 30]);
    return recorded;
  }

  withValueLength(recorded: Uint8Array): Uint8Array {
    const { dice } = this;
    const { words } = regionOf(recorded.buffer);
    const near = recorded.length - HEADER_BYTES + 8 * dice.integer(-6, 6);
    words[WORD_VALUE_BYTES] = dice.chance(0.5) ? this.#word() : near;
    return recorded;
  }

  #word(): number {
    return this.dice.chance(0.7) ? this.dice.pick(WORD_EDGES) : this.dice.integer(-(2 ** 31), 2 ** 31 - 1);
  }

  // -- handshakes -------------------------------------------------------------------------------------------------

  payload(): Uint8Array {
    const own = this.#options.requestPayload();
    const terms = Buffer.alloc(TERMS_BYTES);
    terms.writeInt32LE(this.dice.chance(0.8) ? 1_472 : this.#word(), 0);
    terms.writeInt32LE(this.dice.chance(0.8) ? 100_000 : this.#word(), 4);
    return Buffer.concat([terms, own]);
  }

  request(payload: Uint8Array): Uint8Array {
    const { crypto, victimStaticKey } = this.#options;
    const initiator = crypto.initiate(victimStaticKey, this.#prologue, payload);
    const request = Buffer.concat([this.#requestHeader(), initiator.message, new Uint8Array(2 * MAC_BYTES)]);
    initiator.erase();
    return this.#signed(request);
  }

  signedGarbage(): Uint8Array {
    const byteCount = 8 * this.dice.integer(0, 60);
    return this.#signed(
      Buffer.concat([this.#requestHeader(), this.dice.bytes(byteCount), new Uint8Array(2 * MAC_BYTES)]),
    );
  }

  signedChange(): Uint8Array {
    const request = this.#aRequest();
    const end = request.length - 2 * MAC_BYTES;
    if (end <= REQUEST_HEADER_BYTES) return request;
    const changed = this.withFlippedBits(request.subarray(REQUEST_HEADER_BYTES, end));
    return this.#signed(
      Buffer.concat([request.subarray(0, REQUEST_HEADER_BYTES), changed, new Uint8Array(2 * MAC_BYTES)]),
    );
  }

  cookie(): Uint8Array {
    const datagram = this.dice.bytes(COOKIE_BYTES);
    datagram.set(Uint8Array.of(KIND_COOKIE, WIRE_VERSION, 0, 0));
    return this.#echoing(datagram, COOKIE_OFFSET + MAC_BYTES);
  }

  hint(): Uint8Array {
    const datagram = this.dice.bytes(HINT_BYTES);
    datagram.set(Uint8Array.of(KIND_HINT, this.dice.integer(0, 2), 0, this.dice.integer(0, HINT_REASONS.length)));
    return this.#echoing(datagram, HINT_ECHO_OFFSET);
  }

  /** Session and mac1 as in a handshake that was recorded. */
  #echoing(datagram: Uint8Array, offset: number): Uint8Array {
    const request = this.#aRequest();
    if (this.dice.chance(0.7)) {
      datagram.set(request.subarray(OFFSET_SESSION, OFFSET_SESSION + 4), OFFSET_SESSION);
      datagram.set(request.subarray(-2 * MAC_BYTES, -MAC_BYTES), offset);
    }
    return datagram;
  }

  #aRequest(): Uint8Array {
    return Uint8Array.from(this.#requests.length > 0 ? this.dice.pick(this.#requests) : this.#recorded[0]!);
  }

  #requestHeader(): Uint8Array {
    const { dice } = this;
    const mode = dice.chance(0.95) ? SECURITY_MODES.indexOf(this.#options.mode) : dice.integer(0, 255);
    return Uint8Array.of(KIND_REQUEST, WIRE_VERSION, mode, 0, ...dice.bytes(4));
  }

  /** With a fitting mac1, and a mac2 by the cookie that this stranger was given, or a forged one. */
  #signed(request: Uint8Array): Uint8Array {
    const { crypto, victimStaticKey } = this.#options;
    const signed = Uint8Array.from(request);
    signed.set(crypto.mac1(victimStaticKey, signed.subarray(0, -2 * MAC_BYTES)), signed.length - 2 * MAC_BYTES);
    const secret = new Uint8Array(32);
    secret.set(this.#cookies.get(this.#stranger) ?? this.dice.bytes(MAC_BYTES));
    signed.set(crypto.mac(secret, signed.subarray(0, -MAC_BYTES)), signed.length - MAC_BYTES);
    return signed;
  }
}

/** Kinds that are acted on, or not, without an answer or a count of their own. */
export function isClearAnswer(datagram: Uint8Array): boolean {
  return [KIND_RESPONSE, KIND_COOKIE, KIND_HINT].includes(datagram[OFFSET_KIND]!);
}

export function isResponse(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_RESPONSE;
}

export function isRecordable(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_DATA || datagram[OFFSET_KIND] === KIND_REQUEST;
}
