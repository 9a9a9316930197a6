/**
 * A second client, written from docs/wire.md alone: no code of the product but BLAKE2b with a key, which node:crypto
 * lacks. From the inputs of the golden packets it makes the same requests, and it reads what was answered.
 */
import assert from 'node:assert/strict';
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { blake2b } from '../../workers/sodium.ts';
import type { Golden } from './golden-recording.ts';

const FILE = fileURLToPath(new URL('../../../test/net/golden/wire-v4.json', import.meta.url));
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Golden>;

const VERSION = 4;
const MODES = { secure: 0, authenticated: 1, plaintext: 2 } as const;
type Mode = keyof typeof MODES;

// -- primitives -------------------------------------------------------------------------------------------------------

const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

function privateKey(secret: Buffer) {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, secret]), format: 'der', type: 'pkcs8' });
}

function publicBytes(secret: Buffer): Buffer {
  return createPublicKey(privateKey(secret)).export({ format: 'der', type: 'spki' }).subarray(-32);
}

function dh(secret: Buffer, publicKey: Buffer): Buffer {
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
  return diffieHellman({ privateKey: privateKey(secret), publicKey: key });
}

function hash(...parts: Buffer[]): Buffer {
  return createHash('blake2b512').update(Buffer.concat(parts)).digest();
}

function hmac(key: Buffer, ...parts: Buffer[]): Buffer {
  return createHmac('blake2b512', key).update(Buffer.concat(parts)).digest();
}

function keyed(byteCount: number, key: Buffer | undefined, ...parts: Buffer[]): Buffer {
  const output = Buffer.alloc(byteCount);
  blake2b(output, Buffer.concat(parts), key);
  return output;
}

/** 4 zero bytes, then the number as u64, little endian. */
function nonceOf(number: bigint): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(number, 4);
  return nonce;
}

function seal(key: Buffer, nonce: Buffer, associated: Buffer, clear: Buffer): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  cipher.setAAD(associated, { plaintextLength: clear.length });
  return Buffer.concat([cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Buffer, nonce: Buffer, associated: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  decipher.setAAD(associated, { plaintextLength: sealed.length - 16 });
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

// -- Noise_IK_25519_ChaChaPoly_BLAKE2b, initiator ---------------------------------------------------------------------

class Noise {
  #chainingKey = Buffer.alloc(64);
  #digest: Buffer;
  #key: Buffer | undefined;

  constructor(prologue: Buffer) {
    this.#chainingKey.write('Noise_IK_25519_ChaChaPoly_BLAKE2b');
    this.#digest = hash(this.#chainingKey, prologue);
  }

  mixHash(bytes: Buffer): void {
    this.#digest = hash(this.#digest, bytes);
  }

  mixKey(input: Buffer): void {
    const [chainingKey, key] = this.#derive(input);
    this.#chainingKey = chainingKey;
    this.#key = key.subarray(0, 32);
  }

  encrypt(clear: Buffer): Buffer {
    const sealed = seal(this.#key!, nonceOf(0n), this.#digest, clear);
    this.mixHash(sealed);
    return sealed;
  }

  decrypt(sealed: Buffer): Buffer {
    const clear = open(this.#key!, nonceOf(0n), this.#digest, sealed);
    this.mixHash(sealed);
    return clear;
  }

  /** What the initiator seals with, and opens with. */
  split(): [Buffer, Buffer] {
    const [first, second] = this.#derive(Buffer.alloc(0));
    return [first.subarray(0, 32), second.subarray(0, 32)];
  }

  #derive(input: Buffer): [Buffer<ArrayBuffer>, Buffer] {
    const temporary = hmac(this.#chainingKey, input);
    const first = hmac(temporary, Buffer.of(1));
    return [Buffer.from(first), hmac(temporary, first, Buffer.of(2))];
  }
}

// -- the exchange -----------------------------------------------------------------------------------------------------

for (const mode of Object.keys(MODES) as Mode[]) {
  const { inputs, packets } = golden[mode]!;
  const input = (name: string) => Buffer.from(inputs[name] as string, 'hex');
  const packet = (name: string) => Buffer.from(packets[name]!, 'hex');
  const isNoise = mode !== 'plaintext';
  const tagBytes = isNoise ? 16 : 0;

  const secret = input('static secret key of client');
  const peerKey = publicBytes(input('static secret key of replica'));
  // The first draw of an endpoint is its cookie secret, the next ones are ephemeral keys.
  const ephemeral = Buffer.from((inputs['random bytes drawn by client'] as string[])[1] ?? '', 'hex');
  const noise = new Noise(Buffer.concat([input('cluster id'), Buffer.of(VERSION, MODES[mode])]));

  /** Message 1, and what message 2 says. */
  const message1 = (payload: Buffer): Buffer => {
    if (!isNoise) return Buffer.concat([publicBytes(secret), payload]);
    noise.mixHash(peerKey);
    const ephemeralPublic = publicBytes(ephemeral);
    noise.mixHash(ephemeralPublic);
    noise.mixKey(dh(ephemeral, peerKey));
    const sealedStatic = noise.encrypt(publicBytes(secret));
    noise.mixKey(dh(secret, peerKey));
    return Buffer.concat([ephemeralPublic, sealedStatic, noise.encrypt(payload)]);
  };
  const message2 = (message: Buffer): Buffer => {
    if (!isNoise) return message;
    const peerEphemeral = message.subarray(0, 32);
    noise.mixHash(peerEphemeral);
    noise.mixKey(dh(ephemeral, peerEphemeral));
    noise.mixKey(dh(secret, peerEphemeral));
    return noise.decrypt(message.subarray(32));
  };
  const mac1 = (receiverKey: Buffer, bytes: Buffer) =>
    keyed(16, keyed(32, undefined, Buffer.from('avocado mac1'), receiverKey), bytes);

  test(`should shake hands and read what is answered, from docs/wire.md alone, in mode ${mode}`, () => {
    // REQUEST.
    const request = packet('request');
    const payload = Buffer.alloc(16);
    payload.writeUInt32LE(1_472, 0);
    payload.writeUInt32LE((212_992 * 3) / 4, 4);
    payload.writeInt32LE(77, 8);
    payload.writeInt32LE(-5, 12);
    const head = Buffer.concat([Buffer.of(2, VERSION, MODES[mode], 0), request.subarray(4, 8)]);
    const body = Buffer.concat([head, message1(Buffer.concat([payload, input('certificate of client')]))]);
    const withMac1 = Buffer.concat([body, mac1(peerKey, body)]);
    assert.deepEqual(Buffer.concat([withMac1, Buffer.alloc(16)]), request);

    // COOKIE, and the request that returns it.
    const cookie = packet('cookie').subarray(8, 24);
    const mac2 = keyed(16, Buffer.concat([cookie, Buffer.alloc(16)]), withMac1);
    assert.deepEqual(Buffer.concat([withMac1, mac2]), packet('request with cookie'));

    // RESPONSE.
    const response = packet('response');
    assert.deepEqual(response.subarray(-16), mac1(publicBytes(secret), response.subarray(0, -16)));
    const answer = message2(response.subarray(16, -16));
    assert.equal(answer.length, 32);
    assert.deepEqual(
      [answer.readUInt32LE(0), answer.readUInt32LE(4)],
      [1_472, 79_872],
      'shared with the one who is there already',
    );
    assert.deepEqual([answer.readUInt32LE(24), answer.readUInt32LE(28)], [1, 0], 'epoch, zero');
    const session = response.readUInt32LE(8);
    const [sendKey, receiveKey] = noise.split();

    // DATA, made: the empty first one.
    assert.deepEqual(makeData(session, sendKey, 0, NOTHING_RECEIVED, [], []), packet('data, first of client'));

    // DATA, read: the answers.
    const answers = packet('data, answers');
    const { control, valueEnd } = readData(receiveKey, answers);
    assert.equal(control.readUInt32LE(0), 1, 'epoch');
    assert.equal(control.readUInt32LE(4), 1, 'it has our datagrams up to number 1');

    // READ_REPLY with a value comes behind the answers to READ, READ, STAMP and WRITE.
    let at = 8;
    let valueAt = 24;
    const found: number[] = [];
    while (at < control.length) {
      const type = control[at]!;
      const hasValue = (control[at + 1]! & 1) !== 0;
      found.push(type);
      if (type === 2 && hasValue) {
        const envelopeBytes = control.readUInt32LE(at + 8);
        assert.equal(control.readBigUInt64LE(at + 16), 2n ** 33n + 7n, 'counter of the stamp');
        assert.deepEqual([control.readInt32LE(at + 24), control.readInt32LE(at + 28)], [77, -5], 'writer of the stamp');
        const envelope = answers.subarray(valueAt, valueAt + envelopeBytes);
        assert.equal(openEnvelope(envelope, control.subarray(at + 32, at + 48)), 'hello, world');
        valueAt += (envelopeBytes + 7) & ~7;
      }
      at += type === 2 ? (hasValue ? 48 : 32) : type === 4 ? 16 : type === 6 ? 8 : 32 + 16 * control[at + 10]!;
    }
    assert.deepEqual(found, [2, 2, 4, 6, 2, 6, 2, 9]);
    assert.equal(valueAt, valueEnd);

    putByParts(session, sendKey, receiveKey, answers.subarray(24, 24 + LENGTH));
    getByParts(receiveKey);
  });

  /** The envelope that was read is put again by parts: the last and the key's first, then those between. */
  const putByParts = (session: number, sendKey: Buffer, receiveKey: Buffer, envelope: Buffer): void => {
    const partCount = 1 + Math.ceil(envelope.length / PART_BYTES);
    const indexes = Array.from({ length: partCount }, (_, index) => index);
    const parts = indexes.map((index) => writePart(index, envelope, input('key of the pair'), tagOf(envelope)));
    const pieces = indexes.map((index) =>
      padded(index === 0 ? NOTHING : envelope.subarray((index - 1) * PART_BYTES, index * PART_BYTES)),
    );
    const first = makeData(session, sendKey, 2, 1, [pieces.at(-1)!], [parts.at(-1)!, parts[0]!]);
    assert.deepEqual(first, packet('data, parts'));

    // WRITE_PROGRESS: which are there.
    const progress = readData(receiveKey, packet('data, progress')).control.subarray(8);
    assert.deepEqual([progress.length, progress[0], progress[1]], [24, 13, 0]);
    assert.deepEqual([progress.readUInt16LE(2), progress.readInt32LE(4)], [SLOT, GENERATION]);
    assert.deepEqual([progress.readUInt32LE(8), progress.readUInt32LE(12)], [8, 0]);
    assert.equal(progress.readBigUInt64LE(16), 1n | (1n << BigInt(partCount - 1)));

    // READ with VALUE, and READ_PARTs for what is behind the first bytes, and for these.
    const key = padded(input('key of the pair'));
    const read = Buffer.concat([headOf(1, 1), Buffer.alloc(8), key]);
    read.writeUInt32LE(input('key of the pair').length, 8);
    const asks = [
      [PART_BYTES, envelope.length - PART_BYTES],
      [0, PART_BYTES],
    ].map(([offset, byteCount]) => {
      const ask = Buffer.concat([headOf(14, 0), Buffer.alloc(32), key]);
      ask.writeUInt32LE(input('key of the pair').length, 8);
      ask.writeUInt32LE(byteCount!, 12);
      writeStamp(ask);
      ask.writeUInt32LE(offset!, 36);
      return ask;
    });
    // And READ that grants the first two parts.
    const granting = Buffer.from(read);
    granting.writeUInt16LE(2, 12);
    granting.writeUInt16LE(PART_BYTES / 8, 14);
    const messages = [...parts.slice(1, -1), read, ...asks, granting];
    const rest = makeData(session, sendKey, 3, 2, pieces.slice(1, -1), messages);
    assert.deepEqual(rest, packet('data, more parts'));
  };

  /** WRITE_REPLY, READ_REPLY that says to ask by parts, and the parts in the order asked for; then one that is followed. */
  const getByParts = (receiveKey: Buffer): void => {
    const datagram = packet('data, answers to parts');
    const { control, valueEnd } = readData(receiveKey, datagram);
    assert.deepEqual(
      [control[8], control[9], control.length],
      [6, 0, 8 + 8 + 48 + 16 + 16 + 48 + 16 + 16],
      'WRITE_REPLY: taken',
    );
    const reply = control.subarray(16, 64);
    assert.deepEqual([reply[0], reply[1]], [2, 128]);
    const envelope = Buffer.alloc(reply.readUInt32LE(8));
    assert.equal(reply.readBigUInt64LE(16), 2n ** 33n + 7n, 'counter of the stamp');
    let valueAt = 24;
    for (const at of [64, 80]) {
      const part = control.subarray(at, at + 16);
      assert.deepEqual([part[0], part[1], part.readUInt16LE(2), part.readInt32LE(4)], [15, 0, SLOT, GENERATION]);
      const byteCount = part.readUInt32LE(12);
      datagram.copy(envelope, part.readUInt32LE(8), valueAt, valueAt + byteCount);
      valueAt += (byteCount + 7) & ~7;
    }
    assert.equal(openEnvelope(envelope, reply.subarray(32, 48)), 'hello, world');
    assert.deepEqual([control[96], control[97]], [2, 128 | 4], 'followed by parts');
    for (const [at, offset] of [
      [144, 0],
      [160, PART_BYTES],
    ] as const) {
      const part = control.subarray(at, at + 16);
      assert.deepEqual(
        [part[0], part.readUInt32LE(8), part.readUInt32LE(12)],
        [15, offset, Math.min(PART_BYTES, LENGTH - offset)],
      );
      const byteCount = part.readUInt32LE(12);
      assert.deepEqual(datagram.subarray(valueAt, valueAt + byteCount), envelope.subarray(offset, offset + byteCount));
      valueAt += (byteCount + 7) & ~7;
    }
    assert.equal(valueAt, valueEnd);
  };

  const LENGTH = isNoise ? 44 : 12;

  /** Of the value that is put again: it was read before. */
  const tagOf = (envelope: Buffer): Buffer => {
    if (!isNoise) return Buffer.alloc(16);
    const key = valueKeyOf(envelope);
    const associated = input('key of the pair');
    return seal(key, envelope.subarray(4, 16), associated, Buffer.from('hello, world')).subarray(-16);
  };

  const makeData = (
    session: number,
    sendKey: Buffer,
    number: number,
    received: number,
    values: readonly Buffer[],
    messages: readonly Buffer[],
  ): Buffer => {
    const value = Buffer.concat(values);
    const header = Buffer.alloc(24);
    header.set([1, VERSION]);
    header.writeUInt32LE(session, 4);
    header.writeUInt32LE(number, 8);
    header.writeUInt32LE(value.length, 16);
    const preamble = Buffer.alloc(8);
    preamble.writeUInt32LE(1, 0);
    preamble.writeUInt32LE(received, 4);
    const control = Buffer.concat([preamble, ...messages]);
    const data = Buffer.concat([header, value]);
    const nonce = nonceOf(BigInt(number));
    if (mode === 'secure') return Buffer.concat([data, seal(sendKey, nonce, data, control)]);
    const clear = Buffer.concat([data, control]);
    return isNoise ? Buffer.concat([clear, seal(sendKey, nonce, clear, Buffer.alloc(0))]) : clear;
  };

  const readData = (receiveKey: Buffer, datagram: Buffer): { control: Buffer; valueEnd: number } => {
    const nonce = nonceOf(datagram.readBigUInt64LE(8));
    const valueEnd = 24 + datagram.readUInt32LE(16);
    if (mode === 'authenticated') open(receiveKey, nonce, datagram.subarray(0, -16), datagram.subarray(-16));
    const control =
      mode === 'secure'
        ? open(receiveKey, nonce, datagram.subarray(0, valueEnd), datagram.subarray(valueEnd))
        : datagram.subarray(valueEnd, datagram.length - tagBytes);
    return { control, valueEnd };
  };

  function openEnvelope(envelope: Buffer, tag: Buffer): string {
    if (!isNoise) return envelope.toString();
    const sealed = Buffer.concat([envelope.subarray(32), tag]);
    return open(valueKeyOf(envelope), envelope.subarray(4, 16), input('key of the pair'), sealed).toString();
  }
  function valueKeyOf(envelope: Buffer): Buffer {
    const keyId = envelope.subarray(0, 4);
    assert.equal(keyId.readUInt32LE(0), 1);
    return keyed(32, input('data key 1'), Buffer.from('avocado value key v1'), keyId, envelope.subarray(16, 32));
  }
}

// -- messages of values by parts --------------------------------------------------------------------------------------

const NOTHING = Buffer.alloc(0);
const NOTHING_RECEIVED = 0xffff_ffff;
const PART_BYTES = 8;
/** Of the operation, as the golden packets have it. */
const SLOT = 258;
const GENERATION = -77;

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)]);
}

function headOf(type: number, flags: number): Buffer {
  const head = Buffer.alloc(8);
  head.set([type, flags]);
  head.writeUInt16LE(SLOT, 2);
  head.writeInt32LE(GENERATION, 4);
  return head;
}

function writeStamp(message: Buffer): void {
  message.writeBigUInt64LE(2n ** 33n + 7n, 16);
  message.writeInt32LE(77, 24);
  message.writeInt32LE(-5, 28);
}

function writePart(index: number, envelope: Buffer, key: Buffer, tag: Buffer): Buffer {
  const message = Buffer.concat([headOf(12, 0), Buffer.alloc(32), tag, index === 0 ? padded(key) : NOTHING]);
  message.writeUInt32LE(index === 0 ? key.length : 0, 8);
  message.writeUInt32LE(envelope.length, 12);
  writeStamp(message);
  message.writeUInt16LE(index, 36);
  message.writeUInt16LE(PART_BYTES / 8, 38);
  return message;
}
