import type { KeyHandle, KeyRegistry, Sealing, SealingSink, ValueSealingSink } from '../../workers/sealing.ts';

export type SealDatagramJob = Parameters<Sealing['submitSealDatagram']>;
export type OpenDatagramJob = Parameters<Sealing['submitOpenDatagram']>;
export type ValueJob = Parameters<Sealing['submitSealValue']>;

/** Hands everything on to another sealing: what wraps one for a test says only what it does itself. */
export class ForwardingSealing implements Sealing, KeyRegistry {
  protected readonly inner: Sealing & KeyRegistry;

  constructor(inner: Sealing & KeyRegistry) {
    this.inner = inner;
  }

  get datagramTagBytes(): number {
    return this.inner.datagramTagBytes;
  }

  isUnderCurrentKey(...envelope: Parameters<Sealing['isUnderCurrentKey']>): boolean {
    return this.inner.isUnderCurrentKey(...envelope);
  }

  envelopeBytesOf(valueBytes: number): number {
    return this.inner.envelopeBytesOf(valueBytes);
  }

  valueOffsetOf(valueBytes: number): number {
    return this.inner.valueOffsetOf(valueBytes);
  }

  get pendingValueJobs(): number {
    return this.inner.pendingValueJobs;
  }

  get openedValue(): Uint8Array {
    return this.inner.openedValue;
  }

  get openedValueBytes(): number {
    return this.inner.openedValueBytes;
  }

  importKey(key: Uint8Array): KeyHandle {
    return this.inner.importKey(key);
  }

  eraseKey(key: KeyHandle): void {
    this.inner.eraseKey(key);
  }

  submitSealDatagram(...job: SealDatagramJob): void {
    this.inner.submitSealDatagram(...job);
  }

  submitOpenDatagram(...job: OpenDatagramJob): void {
    this.inner.submitOpenDatagram(...job);
  }

  drainDatagrams(sink: SealingSink): number {
    return this.inner.drainDatagrams(sink);
  }

  submitSealValue(...job: ValueJob): void {
    this.inner.submitSealValue(...job);
  }

  submitOpenValue(...job: ValueJob): void {
    this.inner.submitOpenValue(...job);
  }

  drainValues(sink: ValueSealingSink): number {
    return this.inner.drainValues(sink);
  }

  close(): void {
    this.inner.close();
  }
}
