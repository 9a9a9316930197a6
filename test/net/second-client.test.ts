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

const FILE = fileURLToPath(new URL('../../../test/net/golden/wire-v3.json', import.meta.url));
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Golden>;

const VERSION = 3;
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
    const body = Buffer.concat([head, message1(Buffer.concat([payload, input('certificate (a stand-in)')]))]);
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
    const data = Buffer.alloc(24);
    data.set([1, VERSION]);
    data.writeUInt32LE(session, 4);
    const preamble = Buffer.alloc(8);
    preamble.writeUInt32LE(1, 0);
    preamble.writeUInt32LE(0xffff_ffff, 4);
    const made =
      mode === 'secure'
        ? Buffer.concat([data, seal(sendKey, nonceOf(0n), data, preamble)])
        : Buffer.concat([
            data,
            preamble,
            ...(isNoise ? [seal(sendKey, nonceOf(0n), Buffer.concat([data, preamble]), Buffer.alloc(0))] : []),
          ]);
    assert.deepEqual(made, packet('data, first of client'));

    // DATA, read: the answers.
    const answers = packet('data, answers');
    const number = answers.readBigUInt64LE(8);
    const valueEnd = 24 + answers.readUInt32LE(16);
    const control =
      mode === 'secure'
        ? open(receiveKey, nonceOf(number), answers.subarray(0, valueEnd), answers.subarray(valueEnd))
        : answers.subarray(valueEnd, answers.length - tagBytes);
    if (mode === 'authenticated') open(receiveKey, nonceOf(number), answers.subarray(0, -16), answers.subarray(-16));
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
      if (type === 13)
        assert.equal(control.readUInt32LE(at + 16), 0b11, 'the key and the first of two parts are there');
      if (type === 15) {
        const partBytes = control.readUInt32LE(at + 12);
        assert.deepEqual(
          [control.readUInt32LE(at + 8), partBytes],
          [8, isNoise ? 16 : 0],
          'where it begins, its length',
        );
        valueAt += partBytes;
      }
      at += bytesOfAnswer(control, at);
    }
    assert.deepEqual(found, [2, 2, 4, 6, 2, 15, 6, 2, 13, 9]);
    assert.equal(valueAt, valueEnd);
  });

  function bytesOfAnswer(control: Buffer, at: number): number {
    const hasValue = (control[at + 1]! & 1) !== 0;
    switch (control[at]!) {
      case 2:
        return hasValue ? 48 : 32;
      case 6:
        return 8;
      case 9:
        return 32 + 16 * control[at + 10]!;
      case 13:
        return 16 + control.readUInt32LE(at + 8);
      default:
        return 16;
    }
  }

  function openEnvelope(envelope: Buffer, tag: Buffer): string {
    if (!isNoise) return envelope.toString();
    const keyId = envelope.subarray(0, 4);
    assert.equal(keyId.readUInt32LE(0), 1);
    const salt = envelope.subarray(16, 32);
    const valueKey = keyed(32, input('data key 1'), Buffer.from('avocado value key v1'), keyId, salt);
    const sealed = Buffer.concat([envelope.subarray(32), tag]);
    return open(valueKey, envelope.subarray(4, 16), input('key of the pair'), sealed).toString();
  }
}
