/**
 * The keys of sessions, named by small integers. Keys live only here, in memory of their own, and are overwritten when
 * they are erased. A key with jobs under way is erased when the last of them is done, so that a job never meets another
 * session's key under a handle that was given out again.
 */
import { assert } from '../net/assert.ts';
import type { KeyHandle } from '../net/sealing.ts';
import { AEAD_KEY_BYTES, eraseBytes } from './sodium.ts';

const FREE = 0;
const LIVE = 1;
/** Erased by its owner, still used by jobs under way. */
const RETIRING = 2;

export class KeyTable {
  readonly #keys: Uint8Array[] = [];
  readonly #states: number[] = [];
  /** Jobs under way a key. */
  readonly #jobs: number[] = [];
  readonly #freeHandles: KeyHandle[] = [];

  add(key: Uint8Array): KeyHandle {
    assert(key.byteLength === AEAD_KEY_BYTES, 'a session key has 32 bytes');
    const handle = this.#freeHandles.pop() ?? this.#addSlot();
    this.#keys[handle]!.set(key);
    this.#states[handle] = LIVE;
    return handle;
  }

  /** A job takes the key in use; `release` ends that. */
  retain(handle: KeyHandle): void {
    assert(this.#states[handle] === LIVE, 'the key of a job is live');
    this.#jobs[handle] = this.#jobs[handle]! + 1;
  }

  /** The key of a job under way. */
  bytes(handle: KeyHandle): Uint8Array {
    assert(this.#jobs[handle]! > 0, 'a key is read by jobs only');
    return this.#keys[handle]!;
  }

  release(handle: KeyHandle): void {
    assert(this.#jobs[handle]! > 0, 'a key is released as often as it was retained');
    this.#jobs[handle] = this.#jobs[handle]! - 1;
    if (this.#states[handle] === RETIRING) this.#freeWhenUnused(handle);
  }

  erase(handle: KeyHandle): void {
    assert(this.#states[handle] === LIVE, 'a key is erased once');
    this.#states[handle] = RETIRING;
    this.#freeWhenUnused(handle);
  }

  /** Overwrites every key, whatever is under way. */
  close(): void {
    for (const key of this.#keys) eraseBytes(key);
    this.#states.fill(FREE);
    this.#jobs.fill(0);
    this.#freeHandles.length = 0;
  }

  invariants(): void {
    let freeCount = 0;
    for (let handle = 0; handle < this.#keys.length; handle++) {
      if (this.#states[handle] !== FREE) continue;
      freeCount++;
      assert(this.#jobs[handle] === 0, 'a free key has no jobs');
      assert(
        this.#keys[handle]!.every((byte) => byte === 0),
        'a free key is zero',
      );
    }
    assert(freeCount >= this.#freeHandles.length, 'handles on the free list are free');
    assert(new Set(this.#freeHandles).size === this.#freeHandles.length, 'a handle is on the free list once');
  }

  #addSlot(): KeyHandle {
    this.#keys.push(new Uint8Array(AEAD_KEY_BYTES));
    this.#states.push(FREE);
    this.#jobs.push(0);
    return this.#keys.length - 1;
  }

  #freeWhenUnused(handle: KeyHandle): void {
    if (this.#jobs[handle]! > 0) return;
    eraseBytes(this.#keys[handle]!);
    this.#states[handle] = FREE;
    this.#freeHandles.push(handle);
  }
}
