/**
 * Handshakes: Noise_IK_25519_ChaChaPoly_BLAKE2b (noiseprotocol.org, revision 34) by noise-handshake, whose only importer
 * this is. The library throws on input that does not fit, is unusable afterwards, and writes into the buffers it is
 * given; here input is copied, whatever it throws becomes "undefined", and the state of a failed attempt is thrown away.
 * What comes out is a plain Uint8Array, never a Buffer, whose slice() would not copy.
 *
 * Erased are the ephemeral and the session keys and the state's hashes. Intermediate values that the library itself
 * lets go of (Diffie-Hellman results, earlier chaining keys) cannot be reached and wait for the garbage collector.
 */
import Noise from 'noise-handshake';
import { assert } from '../net/assert.ts';
import type { SecurityMode } from '../net/mode.ts';
import type { HandshakeCrypto, HandshakeInitiator, HandshakeRequest, SessionKeys } from '../net/sealing.ts';
import { keyedMac, Mac1 } from './handshake-macs.ts';
import {
  initiateInPlaintext,
  PLAINTEXT_REQUEST_OVERHEAD_BYTES,
  PLAINTEXT_RESPONSE_OVERHEAD_BYTES,
  receiveInPlaintext,
} from './plaintext-handshake.ts';
import type { KeyRegistry } from './sealing.ts';
import type { KeyPair } from './sodium.ts';
import {
  AEAD_TAG_BYTES,
  equalBytes,
  eraseBytes,
  randomBytes as systemRandomBytes,
  STATIC_KEY_BYTES,
  x25519PublicKey,
} from './sodium.ts';

export interface HandshakeCryptoOptions {
  readonly mode: SecurityMode;
  /** X25519. Stays the caller's: used in place, neither copied nor erased. */
  readonly staticKeyPair: KeyPair;
  /** Takes the keys of finished handshakes. */
  readonly sealing: KeyRegistry;
  /** Draws ephemeral keys, each into fresh memory; default: the system's random source. */
  readonly randomBytes?: (count: number) => Uint8Array;
}

/** e, encrypted s, tag of the payload. */
const REQUEST_OVERHEAD_BYTES = STATIC_KEY_BYTES + (STATIC_KEY_BYTES + AEAD_TAG_BYTES) + AEAD_TAG_BYTES;
/** e, tag of the payload. */
const RESPONSE_OVERHEAD_BYTES = STATIC_KEY_BYTES + AEAD_TAG_BYTES;
/**
 * Noise, section 3. Lengths are checked here although the library checks them too: a message that cannot be one then
 * costs no Diffie-Hellman, and the initiator its state.
 */
const NOISE_MESSAGE_BYTES_MAX = 65_535;

export function createHandshakeCrypto(options: HandshakeCryptoOptions): HandshakeCrypto {
  const { mode, staticKeyPair } = options;
  assert(staticKeyPair.publicKey.byteLength === STATIC_KEY_BYTES, 'a static public key has 32 bytes');
  assert(staticKeyPair.secretKey.byteLength === STATIC_KEY_BYTES, 'a static secret key has 32 bytes');
  const randomBytes = options.randomBytes ?? systemRandomBytes;
  const mac1 = new Mac1();
  const shared = {
    staticKey: staticKeyPair.publicKey,
    mac1: (receiverStaticKey: Uint8Array, bytes: Uint8Array) => mac1.of(receiverStaticKey, bytes),
    mac: keyedMac,
    equal: equalBytes,
    randomBytes,
  };
  if (mode === 'plaintext') {
    return {
      ...shared,
      requestOverheadBytes: PLAINTEXT_REQUEST_OVERHEAD_BYTES,
      responseOverheadBytes: PLAINTEXT_RESPONSE_OVERHEAD_BYTES,
      initiate: (_responderStaticKey, _prologue, payload) => initiateInPlaintext(staticKeyPair.publicKey, payload),
      receive: (message) => receiveInPlaintext(message),
    };
  }
  const context: Context = { staticKeyPair, sealing: options.sealing, randomBytes };
  return {
    ...shared,
    requestOverheadBytes: REQUEST_OVERHEAD_BYTES,
    responseOverheadBytes: RESPONSE_OVERHEAD_BYTES,
    initiate: (responderStaticKey, prologue, payload) =>
      new NoiseInitiator(context, responderStaticKey, prologue, payload),
    receive: (message, prologue) => receiveRequest(context, message, prologue),
  };
}

interface Context {
  readonly staticKeyPair: KeyPair;
  readonly sealing: KeyRegistry;
  readonly randomBytes: (count: number) => Uint8Array;
}

class NoiseInitiator implements HandshakeInitiator {
  readonly message: Uint8Array;

  readonly #context: Context;
  readonly #responderStaticKey: Uint8Array;
  readonly #prologue: Uint8Array;
  readonly #payload: Uint8Array;
  readonly #ephemeral: KeyPair;
  /** A state that has sent message 1 and waits for message 2; undefined after a message 2 that did not fit. */
  #state: Noise | undefined;
  #ended = false;

  constructor(context: Context, responderStaticKey: Uint8Array, prologue: Uint8Array, payload: Uint8Array) {
    assert(responderStaticKey.byteLength === STATIC_KEY_BYTES, 'a static public key has 32 bytes');
    assert(REQUEST_OVERHEAD_BYTES + payload.byteLength <= NOISE_MESSAGE_BYTES_MAX, 'message 1 fits in a Noise message');
    this.#context = context;
    this.#responderStaticKey = Uint8Array.from(responderStaticKey);
    this.#prologue = Uint8Array.from(prologue);
    this.#payload = Uint8Array.from(payload);
    this.#ephemeral = drawEphemeral(context);
    const begun = this.#begin();
    this.message = begun.message;
    this.#state = begun.state;
  }

  finish(message: Uint8Array): { readonly payload: Uint8Array; readonly keys: SessionKeys } | undefined {
    assert(!this.#ended, 'a handshake ends once');
    if (message.byteLength < RESPONSE_OVERHEAD_BYTES || message.byteLength > NOISE_MESSAGE_BYTES_MAX) return undefined;
    // A failed attempt leaves a state that is good for nothing. The same ephemeral key, prologue and payload make the
    // same message 1 again, byte for byte, and with it a state that waits for the same message 2.
    const state = this.#state ?? this.#begin().state;
    this.#state = undefined;
    const payload = receivePayload(state, message);
    if (payload === undefined) return undefined;
    const keys = takeKeys(state, this.#context.sealing);
    this.erase();
    return { payload, keys };
  }

  erase(): void {
    this.#ended = true;
    eraseBytes(this.#ephemeral.secretKey);
    if (this.#state !== undefined) eraseState(this.#state);
    this.#state = undefined;
  }

  #begin(): { readonly state: Noise; readonly message: Uint8Array } {
    const state = new Noise('IK', true, this.#context.staticKeyPair);
    // Copies: the library overwrites them when it is done.
    state.e = {
      publicKey: Uint8Array.from(this.#ephemeral.publicKey),
      secretKey: Uint8Array.from(this.#ephemeral.secretKey),
    };
    state.initialise(this.#prologue, this.#responderStaticKey);
    return { state, message: Uint8Array.from(state.send(this.#payload)) };
  }
}

function receiveRequest(context: Context, message: Uint8Array, prologue: Uint8Array): HandshakeRequest | undefined {
  if (message.byteLength < REQUEST_OVERHEAD_BYTES || message.byteLength > NOISE_MESSAGE_BYTES_MAX) return undefined;
  const state = new Noise('IK', false, context.staticKeyPair);
  state.initialise(prologue);
  const payload = receivePayload(state, message);
  if (payload === undefined) return undefined;
  assert(state.rs !== null, 'message 1 of IK carries the static key');
  let ended = false;
  return {
    peerStaticKey: Uint8Array.from(state.rs),
    payload,
    respond(responsePayload) {
      assert(!ended, 'a handshake ends once');
      ended = true;
      state.e = drawEphemeral(context);
      const response = Uint8Array.from(state.send(responsePayload));
      return { message: response, keys: takeKeys(state, context.sealing) };
    },
    refuse() {
      if (ended) return;
      ended = true;
      eraseState(state);
    },
  };
}

/** The payload of a message, undefined when it does not fit: the state is erased then. */
function receivePayload(state: Noise, message: Uint8Array): Uint8Array | undefined {
  try {
    // A copy: the library keeps views of the message and overwrites them at the end.
    return Uint8Array.from(state.recv(Uint8Array.from(message)));
  } catch {
    // Too short, forged, a point of low order: there is nothing to tell apart for the caller.
    eraseState(state);
    return undefined;
  }
}

/** Moves the keys of a complete handshake into the sealing. */
function takeKeys(state: Noise, sealing: KeyRegistry): SessionKeys {
  assert(state.complete && state.tx !== null && state.rx !== null, 'the handshake is complete');
  const keys = { sendKey: sealing.importKey(state.tx), receiveKey: sealing.importKey(state.rx) };
  eraseState(state);
  return keys;
}

function drawEphemeral(context: Context): { publicKey: Uint8Array; secretKey: Uint8Array } {
  const secretKey = context.randomBytes(STATIC_KEY_BYTES);
  return { publicKey: x25519PublicKey(secretKey), secretKey };
}

function eraseState(state: Noise): void {
  for (const secret of [state.e?.secretKey, state.key, state.chainingKey, state.digest, state.tx, state.rx]) {
    if (secret) eraseBytes(secret);
  }
}
