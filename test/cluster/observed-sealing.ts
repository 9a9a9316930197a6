import type { Region } from '../../net/bytes.ts';
import { readU53, regionOf } from '../../net/bytes.ts';
import { HEADER_BYTES, PREAMBLE_BYTES } from '../../net/wire.ts';
import { chunkCountOf, valueBytesIn } from '../../workers/envelope-layout.ts';
import type { KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from '../../workers/sealing.ts';
import { ForwardingSealing } from '../workers/forwarding-sealing.ts';
import type { OpenDatagramJob, SealDatagramJob, ValueJob } from '../workers/forwarding-sealing.ts';
import type { Message } from './messages-seen.ts';
import { messagesIn } from './messages-seen.ts';
import type { NonceLedger } from './nonce-ledger.ts';

/** What a simulation learns from a process's sealing. */
export interface SealingObserver {
  /** Messages that are about to be sealed. */
  onSealing(messages: readonly Message[]): void;
  /** Messages that were opened and are about to be handled; afterHandled() is called when they were. */
  onOpened(messages: readonly Message[], words: Int32Array): void;
  afterHandled(messages: readonly Message[]): void;
  /** A value is sealed, or opened, for the operation in this slot. */
  onValueDone(kind: 'sealed' | 'opened', slot: number): void;
}

interface SealedPlace {
  readonly envelope: Region;
  readonly word: number;
  /** Each has a nonce of its own. */
  readonly chunkCount: number;
}

/** Words of an envelope's header (workers/sealing.ts). */
const NONCE_WORD = 1;
const SALT_WORD = 4;
const HEADER_WORDS = 8;

/**
 * The real sealing of a process, watched: messages in clear before they are sealed and after they were opened, and each
 * nonce, which nobody may use twice.
 */
export class ObservedSealing extends ForwardingSealing {
  observer: SealingObserver | undefined;
  readonly #ledger: NonceLedger;
  readonly #keyNames = new Map<KeyHandle, string>();
  /** Imported and not erased yet. */
  readonly #liveKeys = new Set<KeyHandle>();
  /** By token, i.e. by the slot that the datagram is sent from. */
  readonly #sealing = new Map<number, readonly Message[]>();
  readonly #opening = new Map<number, { readonly packet: Uint8Array; readonly controlOffset: number }>();
  readonly #values = new Map<number, SealedPlace>();
  #datagramSink: SealingSink | undefined;
  #valueSink: ValueSealingSink | undefined;

  constructor(inner: Sealing & KeyRegistry, ledger: NonceLedger) {
    super(inner);
    this.#ledger = ledger;
  }

  override importKey(key: Uint8Array): KeyHandle {
    const handle = super.importKey(key);
    this.#keyNames.set(handle, Buffer.from(key).toString('hex'));
    this.#liveKeys.add(handle);
    return handle;
  }

  get liveKeyCount(): number {
    return this.#liveKeys.size;
  }

  override eraseKey(key: KeyHandle): void {
    if (key >= 0 && !this.#liveKeys.delete(key)) throw new Error('a session key is erased once');
    super.eraseKey(key);
  }

  /** What the datagram in this slot carries; empty for one that was never sealed. */
  takeSealed(token: number): readonly Message[] {
    const messages = this.#sealing.get(token) ?? [];
    this.#sealing.delete(token);
    return messages;
  }

  // -- datagrams --------------------------------------------------------------------------------------------------

  override submitSealDatagram(...job: SealDatagramJob): void {
    const [token, key, packetNumber, , controlOffset, control, controlBytes] = job;
    if (this.datagramTagBytes > 0) this.#ledger.use(this.#keyNames.get(key)!, packetNumber);
    const words = new Int32Array(control.buffer, control.byteOffset, controlBytes >> 2);
    const messages = messagesIn(words, PREAMBLE_BYTES >> 2, words.length, controlOffset - HEADER_BYTES);
    this.#sealing.set(token, messages);
    this.observer?.onSealing(messages);
    super.submitSealDatagram(...job);
  }

  override submitOpenDatagram(...job: OpenDatagramJob): void {
    const [token, , , packet, controlOffset] = job;
    this.#opening.set(token, { packet, controlOffset });
    super.submitOpenDatagram(...job);
  }

  override drainDatagrams(sink: SealingSink): number {
    this.#datagramSink = sink;
    return super.drainDatagrams(this.#onDatagrams);
  }

  readonly #onDatagrams: SealingSink = {
    onDatagramSealed: (token) => this.#datagramSink!.onDatagramSealed(token),
    onDatagramOpened: (token, opened) => {
      const { packet, controlOffset } = this.#opening.get(token)!;
      this.#opening.delete(token);
      if (!opened || this.observer === undefined) return this.#datagramSink!.onDatagramOpened(token, opened);
      const { words } = regionOf(packet.buffer, packet.byteOffset, packet.length);
      const wordEnd = (packet.length - this.datagramTagBytes) >> 2;
      const messages = messagesIn(words, (controlOffset + PREAMBLE_BYTES) >> 2, wordEnd, controlOffset - HEADER_BYTES);
      this.observer.onOpened(messages, words);
      this.#datagramSink!.onDatagramOpened(token, true);
      this.observer.afterHandled(messages);
    },
  };

  // -- values -----------------------------------------------------------------------------------------------------

  override submitSealValue(...job: ValueJob): void {
    const [token, envelope, word, envelopeBytes] = job;
    this.#values.set(token, { envelope, word, chunkCount: Math.max(1, chunkCountOf(valueBytesIn(envelopeBytes))) });
    super.submitSealValue(...job);
  }

  override drainValues(sink: ValueSealingSink): number {
    this.#valueSink = sink;
    return super.drainValues(this.#onValues);
  }

  readonly #onValues: ValueSealingSink = {
    onValueSealed: (token, sealed) => {
      const { envelope, word, chunkCount } = this.#values.get(token)!;
      this.#values.delete(token);
      if (sealed && this.valueOffsetOf(0) > 0) {
        const header = envelope.words.subarray(word, word + HEADER_WORDS);
        // Chunks have a key of their own; yet the process counts once, for all that it seals.
        const salt = `value keys of salt ${header.subarray(SALT_WORD, HEADER_WORDS).join()}`;
        const firstNonce = readU53(header, NONCE_WORD);
        for (let i = 0; i < chunkCount; i++) this.#ledger.use(salt, firstNonce + i);
      }
      this.observer?.onValueDone('sealed', token);
      this.#valueSink!.onValueSealed(token, sealed);
    },
    onValueOpened: (token, opened) => {
      this.observer?.onValueDone('opened', token);
      this.#valueSink!.onValueOpened(token, opened);
    },
  };
}
