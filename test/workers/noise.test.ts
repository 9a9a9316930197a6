import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AssertionError } from '../../net/assert.ts';
import type { SecurityMode } from '../../net/mode.ts';
import type { HandshakeCrypto, HandshakeInitiator, KeyHandle, SessionKeys } from '../../net/sealing.ts';
import { NO_KEY } from '../../net/sealing.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { generateStaticKeyPair } from '../../workers/signing.ts';
import type { KeyPair } from '../../workers/sodium.ts';
import { randomBytes, x25519PublicKey } from '../../workers/sodium.ts';
import { NOISE_IK_VECTOR } from './noise-vector.ts';
import { seededBytes } from './random.ts';
import { bytesOf, Reports, settleDatagrams } from './sealing-driver.ts';

const PROLOGUE = bytesOf('a cluster, wire version 1');

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = copy[at]! ^ 1;
  return copy;
}

/** One process: its sealing, its handshakes, and every secret that passed between them. */
class Process {
  readonly sealing: Sealing & KeyRegistry;
  readonly crypto: HandshakeCrypto;
  /** Memory of ephemeral secret keys, as handed to the handshake. */
  readonly ephemerals: Uint8Array[] = [];
  /** Memory of session keys, as handed to the sealing. */
  readonly importedKeys: Uint8Array[] = [];

  constructor(
    mode: SecurityMode = 'secure',
    staticKeyPair: KeyPair = generateStaticKeyPair(),
    drawEphemeral: (count: number) => Uint8Array = randomBytes,
  ) {
    this.sealing = createInlineSealing({ mode, dataKeys: DataKeyRing.of(1, seededBytes(32, 1)) });
    this.crypto = createHandshakeCrypto({
      mode,
      staticKeyPair,
      sealing: {
        importKey: (key) => {
          this.importedKeys.push(key);
          return this.sealing.importKey(key);
        },
      },
      randomBytes: (count) => {
        const secret = drawEphemeral(count);
        this.ephemerals.push(secret);
        return secret;
      },
    });
  }

  /** A datagram with nothing before its control part. */
  seal(key: KeyHandle, packetNumber: number, text: Uint8Array): Uint8Array {
    const packet = new Uint8Array(text.length + this.sealing.datagramTagBytes);
    this.sealing.submitSealDatagram(0, key, packetNumber, packet, 0, text, text.length);
    settleDatagrams(this.sealing, new Reports(), 1);
    return packet;
  }

  /** The control part, or undefined. */
  open(key: KeyHandle, packetNumber: number, packet: Uint8Array): Uint8Array | undefined {
    const copy = packet.slice();
    const reported = new Reports();
    this.sealing.submitOpenDatagram(0, key, packetNumber, copy, 0);
    settleDatagrams(this.sealing, reported, 1);
    return reported.opened.get(0) ? copy.subarray(0, copy.length - this.sealing.datagramTagBytes) : undefined;
  }
}

function shake(
  initiator: Process,
  responder: Process,
): { initiatorKeys: SessionKeys; responderKeys: SessionKeys; handshake: HandshakeInitiator } {
  const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
  const request = responder.crypto.receive(handshake.message, PROLOGUE);
  assert.ok(request);
  const answer = request.respond(bytesOf('answer'));
  const finished = handshake.finish(answer.message);
  assert.ok(finished);
  return { initiatorKeys: finished.keys, responderKeys: answer.keys, handshake };
}

test('messages and keys are those of the published Noise vector', () => {
  const vector = NOISE_IK_VECTOR;
  const pairOf = (secret: string): KeyPair => ({ secretKey: hex(secret), publicKey: x25519PublicKey(hex(secret)) });
  const initiator = new Process('secure', pairOf(vector.initiatorStatic), () => hex(vector.initiatorEphemeral));
  const responder = new Process('secure', pairOf(vector.responderStatic), () => hex(vector.responderEphemeral));
  assert.deepEqual(responder.crypto.staticKey, hex(vector.responderStaticPublic));

  const [first, second, ...transport] = vector.messages;
  const handshake = initiator.crypto.initiate(responder.crypto.staticKey, hex(vector.prologue), hex(first.payload));
  assert.deepEqual(Buffer.from(handshake.message).toString('hex'), first.ciphertext);
  const request = responder.crypto.receive(handshake.message, hex(vector.prologue));
  assert.ok(request);
  assert.deepEqual(request.peerStaticKey, initiator.crypto.staticKey);
  assert.deepEqual(request.payload, hex(first.payload));
  const answer = request.respond(hex(second.payload));
  assert.deepEqual(Buffer.from(answer.message).toString('hex'), second.ciphertext);
  const finished = handshake.finish(answer.message);
  assert.ok(finished);
  assert.deepEqual(finished.payload, hex(second.payload));

  transport.forEach((message, i) => {
    const [sender, receiver] = i % 2 === 0 ? [initiator, responder] : [responder, initiator];
    const [senderKeys, receiverKeys] = i % 2 === 0 ? [finished.keys, answer.keys] : [answer.keys, finished.keys];
    const packet = sender.seal(senderKeys.sendKey, i >> 1, hex(message.payload));
    assert.equal(Buffer.from(packet).toString('hex'), message.ciphertext);
    assert.deepEqual(receiver.open(receiverKeys.receiveKey, i >> 1, packet), hex(message.payload));
  });
});

for (const mode of ['secure', 'authenticated'] as const) {
  describe(`handshake, ${mode}`, () => {
    test('gives each side the other’s keys, one a direction', () => {
      const [initiator, responder] = [new Process(mode), new Process(mode)];
      const { initiatorKeys, responderKeys } = shake(initiator, responder);
      const there = initiator.seal(initiatorKeys.sendKey, 1, bytesOf('there'));
      assert.deepEqual(responder.open(responderKeys.receiveKey, 1, there), bytesOf('there'));
      const back = responder.seal(responderKeys.sendKey, 1, bytesOf('back'));
      assert.deepEqual(initiator.open(initiatorKeys.receiveKey, 1, back), bytesOf('back'));
      assert.equal(initiator.open(initiatorKeys.receiveKey, 1, there), undefined, 'a datagram sent back to its sender');
    });

    test('adds to the payloads what it says it adds', () => {
      const [initiator, responder] = [new Process(mode), new Process(mode)];
      for (const payloadBytes of [0, 1, 1_000]) {
        const payload = seededBytes(payloadBytes, 1);
        const { message } = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, payload);
        assert.equal(message.length, initiator.crypto.requestOverheadBytes + payloadBytes);
        const request = responder.crypto.receive(message, PROLOGUE);
        assert.deepEqual(request!.payload, payload);
        const response = request!.respond(payload).message;
        assert.equal(response.length, responder.crypto.responseOverheadBytes + payloadBytes);
      }
    });

    test('every session has keys of its own', () => {
      const [initiator, responder] = [new Process(mode), new Process(mode)];
      const [a, b] = [shake(initiator, responder), shake(initiator, responder)];
      const packet = initiator.seal(a.initiatorKeys.sendKey, 1, bytesOf('text'));
      assert.equal(responder.open(b.responderKeys.receiveKey, 1, packet), undefined);
    });
  });
}

describe('message 1', () => {
  const initiator = new Process();
  const responder = new Process();
  const { message } = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('a payload'));

  test('is nothing when it is cut, longer, or has a flipped bit anywhere', () => {
    for (let byteCount = 0; byteCount < message.length; byteCount++) {
      assert.equal(responder.crypto.receive(message.subarray(0, byteCount), PROLOGUE), undefined);
    }
    assert.equal(responder.crypto.receive(Uint8Array.from([...message, 0]), PROLOGUE), undefined);
    assert.equal(responder.crypto.receive(new Uint8Array(70_000), PROLOGUE), undefined);
    for (let at = 0; at < message.length; at++) {
      assert.equal(responder.crypto.receive(flipped(message, at), PROLOGUE), undefined, `byte ${at}`);
    }
    assert.ok(responder.crypto.receive(message, PROLOGUE));
  });

  test('is nothing for another process or another prologue', () => {
    assert.equal(new Process().crypto.receive(message, PROLOGUE), undefined);
    assert.equal(responder.crypto.receive(message, bytesOf('another cluster')), undefined);
    assert.equal(responder.crypto.receive(message, new Uint8Array(0)), undefined);
  });

  test('is nothing when its ephemeral or static key is a point of low order', () => {
    for (const point of LOW_ORDER_POINTS) {
      const forged = message.slice();
      forged.set(hex(point));
      assert.equal(responder.crypto.receive(forged, PROLOGUE), undefined);
      const claiming = new Process('secure', { publicKey: hex(point), secretKey: randomBytes(32) });
      const request = claiming.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('a payload'));
      assert.equal(responder.crypto.receive(request.message, PROLOGUE), undefined);
    }
  });

  test('is left as it is, and can be received again', () => {
    const received = message.slice();
    const request = responder.crypto.receive(received, PROLOGUE);
    assert.deepEqual(received, message);
    request!.respond(bytesOf('answer'));
    assert.deepEqual(received, message);
    assert.ok(responder.crypto.receive(message, PROLOGUE));
  });

  test('is answered once, or refused', () => {
    const request = responder.crypto.receive(message, PROLOGUE)!;
    request.respond(bytesOf('answer'));
    assert.throws(() => request.respond(bytesOf('again')), AssertionError);
    const refused = responder.crypto.receive(message, PROLOGUE)!;
    refused.refuse();
    refused.refuse();
    assert.throws(() => refused.respond(bytesOf('answer')), AssertionError);
  });
});

describe('message 2', () => {
  function begun(): { initiator: Process; handshake: HandshakeInitiator; response: Uint8Array; responder: Process } {
    const [initiator, responder] = [new Process(), new Process()];
    const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
    const response = responder.crypto.receive(handshake.message, PROLOGUE)!.respond(bytesOf('answer')).message;
    return { initiator, responder, handshake, response };
  }

  test('forged ones do not keep the genuine one from ending the handshake', () => {
    const { initiator, responder, handshake, response } = begun();
    const before = handshake.message.slice();
    for (let at = 0; at < response.length; at++) assert.equal(handshake.finish(flipped(response, at)), undefined);
    for (let byteCount = 0; byteCount < response.length; byteCount++) {
      assert.equal(handshake.finish(response.subarray(0, byteCount)), undefined);
    }
    assert.equal(handshake.finish(Uint8Array.from([...response, 0])), undefined);
    assert.equal(handshake.finish(new Uint8Array(70_000)), undefined);
    for (const point of LOW_ORDER_POINTS) {
      assert.equal(handshake.finish(Uint8Array.from([...hex(point), ...response.subarray(32)])), undefined);
    }
    assert.equal(initiator.importedKeys.length, 0, 'no key comes of a forgery');

    const finished = handshake.finish(response);
    assert.ok(finished);
    assert.deepEqual(finished.payload, bytesOf('answer'));
    assert.deepEqual(handshake.message, before);
    assert.equal(responder.importedKeys.length, 2);
    assert.equal(initiator.ephemerals.length, 1, 'message 1 stays bound to one ephemeral key');
  });

  test('after a forgery the keys still are the responder’s', () => {
    const [initiator, responder] = [new Process(), new Process()];
    const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
    const answer = responder.crypto.receive(handshake.message, PROLOGUE)!.respond(bytesOf('answer'));
    assert.equal(handshake.finish(flipped(answer.message, 40)), undefined);
    const { keys } = handshake.finish(answer.message)!;
    const packet = initiator.seal(keys.sendKey, 3, bytesOf('text'));
    assert.deepEqual(responder.open(answer.keys.receiveKey, 3, packet), bytesOf('text'));
    const back = responder.seal(answer.keys.sendKey, 3, bytesOf('text'));
    assert.deepEqual(initiator.open(keys.receiveKey, 3, back), bytesOf('text'));
  });

  test('of another handshake or another responder is refused', () => {
    const { handshake, response } = begun();
    assert.equal(begun().handshake.finish(response), undefined);
    assert.equal(handshake.finish(begun().response), undefined);
    assert.ok(handshake.finish(response));
  });

  test('is left as it is', () => {
    const { handshake, response } = begun();
    const before = response.slice();
    handshake.finish(flipped(response, 50));
    assert.ok(handshake.finish(response));
    assert.deepEqual(response, before);
  });

  test('ends the handshake: it is neither finished again nor after erasing', () => {
    const { handshake, response } = begun();
    assert.ok(handshake.finish(response));
    assert.throws(() => handshake.finish(response), AssertionError);
    const other = begun();
    other.handshake.erase();
    other.handshake.erase();
    assert.throws(() => other.handshake.finish(other.response), AssertionError);
  });
});

describe('secrets of a handshake', () => {
  const ZERO = new Uint8Array(32);

  test('are overwritten when it ends, on both sides', () => {
    const [initiator, responder] = [new Process(), new Process()];
    shake(initiator, responder);
    for (const process of [initiator, responder]) {
      assert.deepEqual(process.ephemerals, [ZERO]);
      assert.deepEqual(
        process.importedKeys.map((key) => Uint8Array.from(key)),
        [ZERO, ZERO],
      );
    }
  });

  test('are overwritten when it is given up, also after a forgery', () => {
    const [initiator, responder] = [new Process(), new Process()];
    const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
    assert.equal(handshake.finish(new Uint8Array(100)), undefined);
    assert.notDeepEqual(initiator.ephemerals, [ZERO], 'still needed');
    handshake.erase();
    assert.deepEqual(initiator.ephemerals, [ZERO]);
  });

  test('the static key survives', () => {
    const pair = generateStaticKeyPair();
    const secretBefore = pair.secretKey.slice();
    const process = new Process('secure', pair);
    const peer = new Process();
    shake(process, peer);
    shake(peer, process);
    assert.deepEqual(pair.secretKey, secretBefore);
    assert.deepEqual(x25519PublicKey(secretBefore), pair.publicKey);
  });
});

describe('plaintext', () => {
  test('has the same two messages, in clear and without keys', () => {
    const [initiator, responder] = [new Process('plaintext'), new Process('plaintext')];
    const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
    assert.deepEqual(handshake.message, Uint8Array.from([...initiator.crypto.staticKey, ...bytesOf('request')]));
    const request = responder.crypto.receive(handshake.message, PROLOGUE);
    assert.deepEqual(request!.peerStaticKey, initiator.crypto.staticKey);
    assert.deepEqual(request!.payload, bytesOf('request'));
    const answer = request!.respond(bytesOf('answer'));
    const finished = handshake.finish(answer.message);
    assert.deepEqual(finished!.payload, bytesOf('answer'));
    const noKeys = { sendKey: NO_KEY, receiveKey: NO_KEY };
    assert.deepEqual([answer.keys, finished!.keys], [noKeys, noKeys]);
    request!.refuse();
    handshake.erase();
    assert.equal(handshake.message.length - 'request'.length, initiator.crypto.requestOverheadBytes);
    assert.equal(answer.message.length - 'answer'.length, responder.crypto.responseOverheadBytes);
  });

  test('what was received is copied out of its buffer', () => {
    const [initiator, responder] = [new Process('plaintext'), new Process('plaintext')];
    const handshake = initiator.crypto.initiate(responder.crypto.staticKey, PROLOGUE, bytesOf('request'));
    const datagram = Buffer.from(handshake.message);
    const request = responder.crypto.receive(datagram, PROLOGUE);
    datagram.fill(0);
    assert.deepEqual(request!.peerStaticKey, initiator.crypto.staticKey);
    assert.deepEqual(request!.payload, bytesOf('request'));
  });

  test('a message 1 too short for a static key is nothing', () => {
    const responder = new Process('plaintext');
    for (let byteCount = 0; byteCount < 32; byteCount++) {
      assert.equal(responder.crypto.receive(new Uint8Array(byteCount), PROLOGUE), undefined);
    }
    assert.ok(responder.crypto.receive(new Uint8Array(32), PROLOGUE));
  });
});

describe('MACs', () => {
  const { crypto } = new Process();
  const [receiver, other] = [Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i), seededBytes(32, 1)];

  // Both computed with Python's hashlib.blake2b.
  test('mac1 is a keyed BLAKE2b-128 under a hash of the receiver’s static key', () => {
    const expected = '3eefbe671b127990b2fa779bf79d3273';
    for (let round = 0; round < 3; round++) {
      assert.equal(Buffer.from(crypto.mac1(receiver, bytesOf('some message'))).toString('hex'), expected);
      assert.notDeepEqual(crypto.mac1(other, bytesOf('some message')), hex(expected));
    }
    const changing = receiver.slice();
    crypto.mac1(changing, bytesOf('some message'));
    changing[0] = 0;
    assert.notDeepEqual(crypto.mac1(changing, bytesOf('some message')), hex(expected), 'the key may lie in a buffer');
  });

  test('mac is a keyed BLAKE2b-128', () => {
    const secret = Uint8Array.from({ length: 32 }, (_, i) => i);
    const mac = crypto.mac(secret, bytesOf('some message'));
    assert.equal(Buffer.from(mac).toString('hex'), '2a0cb3b575e7c523449fcf870e4c04f6');
  });

  test('mac1 works in plaintext mode: it filters there, too', () => {
    assert.deepEqual(
      new Process('plaintext').crypto.mac1(receiver, bytesOf('text')),
      crypto.mac1(receiver, bytesOf('text')),
    );
  });

  test('equal compares contents, and different lengths are unequal', () => {
    assert.equal(crypto.equal(hex('0102'), hex('0102')), true);
    assert.equal(crypto.equal(hex('0102'), hex('0103')), false);
    assert.equal(crypto.equal(hex('0102'), hex('01')), false);
  });
});

/** Points of order 1, 2, 4 and 8, and their non-canonical forms (https://cr.yp.to/ecdh.html#validate). */
const LOW_ORDER_POINTS = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];
