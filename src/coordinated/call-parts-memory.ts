import { assert } from '../../net/assert.ts';
import type { Region } from '../../net/bytes.ts';
import { HostMemory, NO_REF } from '../store/host-memory.ts';
import { TrustedBudget } from '../store/trusted-budget.ts';

/**
 * A replica's trusted memory for calls and answers that go by parts, of all clients together: taken when the first one
 * comes, and bounded in bytes, in number, and by client. When it is full, who has a block that nothing has come of for a
 * while, or that is old, loses it; else whoever comes is told to come again.
 */
interface Room {
  readonly bytes: number;
  readonly blockCountMax: number;
}
/** Seven values of 1 MiB with their keys, or of 64 KiB as many as fill any receive buffer many times over. */
export const ROOM: Room = { bytes: 8 * 1024 * 1024, blockCountMax: 512 };
/** Where trusted memory is scarce. */
export const SMALL_ROOM: Room = { bytes: 1536 * 1024, blockCountMax: 96 };
/** One client may take this part of it, in bytes and in number. */
const CLIENT_SHARE = 3;
/** Of the trusted budget that is free; the rest is for keys. */
const FREE_SHARE = 2;
/** Parts of the room, each for blocks of one size. */
const SEGMENT_COUNT = 32;
/** Beside the bytes of a call or answer: its record, with a bitmap of 1,024 parts, and its entries in tables. */
const RECORD_BYTES = 768;

/** Nothing has come of it for so long: far more than a time-out of who goes on (net/rtt.ts). */
export const IDLE_MS_MAX = 5_000;
/** When there is no room, one that has been idle for so long makes some: a few time-outs of who goes on. */
const IDLE_MS_MIN = 500;
/** And one that is older does, though it goes on: else those that send a part now and then would have all for good. */
const AGE_MS_MIN = 2_000;
/** Blocks are looked at so often: not each turn. */
const TICK_INTERVAL_MS = 100;

const ACCOUNT = 'calls by parts';

/** A block, until it is given back or lost. */
export class PartsBlock {
  /** Who has it: what a client process is called by. */
  readonly owner: string;
  readonly byteCount: number;
  readonly beganMs: number;
  /** When something was last done with it. */
  lastMs: number;
  ref: number;
  readonly onLost: () => void;

  constructor(owner: string, byteCount: number, ref: number, nowMs: number, onLost: () => void) {
    this.owner = owner;
    this.byteCount = byteCount;
    this.ref = ref;
    this.beganMs = nowMs;
    this.lastMs = nowMs;
    this.onLost = onLost;
  }
}

/** Why there is no block: not now, or never. */
export type NoBlock = 'busy' | 'trusted-memory-full';

export class CallPartsMemory {
  readonly #budget: TrustedBudget;
  #room: Room | undefined;
  #memory: HostMemory | undefined;
  readonly #blocks = new Set<PartsBlock>();
  readonly #clients = new Map<string, { bytes: number; count: number }>();
  #tickedMs = -Infinity;

  constructor(budget: TrustedBudget) {
    this.#budget = budget;
  }

  get blockCount(): number {
    return this.#blocks.size;
  }

  /** @param onLost It is another's from now on. */
  take(owner: string, byteCount: number, nowMs: number, onLost: () => void): PartsBlock | NoBlock {
    const room = (this.#room ??= this.#takeRoom());
    if (room === undefined || byteCount > room.bytes / CLIENT_SHARE) return 'trusted-memory-full';
    const client = this.#clients.get(owner) ?? { bytes: 0, count: 0 };
    while (client.bytes + byteCount > room.bytes / CLIENT_SHARE || client.count >= room.blockCountMax / CLIENT_SHARE) {
      // What it has given up itself makes room for what it begins.
      if (!this.#dropIdle(nowMs, owner)) return 'busy';
    }
    for (;;) {
      const ref = this.#blocks.size < room.blockCountMax ? this.#memory!.allocate(byteCount) : NO_REF;
      if (ref !== NO_REF) {
        const block = new PartsBlock(owner, byteCount, ref, nowMs, onLost);
        this.#blocks.add(block);
        client.bytes += byteCount;
        client.count++;
        this.#clients.set(owner, client);
        return block;
      }
      if (!this.#dropIdle(nowMs)) return 'busy';
    }
  }

  #takeRoom(): Room | undefined {
    const room = [ROOM, SMALL_ROOM].find((candidate) => {
      const byteCount = candidate.bytes + candidate.blockCountMax * RECORD_BYTES;
      return byteCount <= this.#budget.available / FREE_SHARE && this.#budget.tryReserve(ACCOUNT, byteCount);
    });
    if (room === undefined) return undefined;
    // Paid for as a whole.
    this.#memory = new HostMemory({
      budget: TrustedBudget.unbounded(),
      hostBytesMax: room.bytes,
      segmentBytes: room.bytes / SEGMENT_COUNT,
    });
    return room;
  }

  /** The one that was idle longest, or is oldest, when that is long enough. An owner's own are left alone while they go on. */
  #dropIdle(nowMs: number, owner?: string): boolean {
    let idlest: PartsBlock | undefined;
    let oldest: PartsBlock | undefined;
    for (const block of this.#blocks) {
      if (owner !== undefined && block.owner !== owner) continue;
      if (idlest === undefined || block.lastMs < idlest.lastMs) idlest = block;
      if (oldest === undefined || block.beganMs < oldest.beganMs) oldest = block;
    }
    if (idlest !== undefined && nowMs - idlest.lastMs >= IDLE_MS_MIN) return this.#lose(idlest);
    if (owner === undefined && oldest !== undefined && nowMs - oldest.beganMs >= AGE_MS_MIN) return this.#lose(oldest);
    return false;
  }

  #lose(block: PartsBlock): true {
    this.free(block);
    block.onLost();
    return true;
  }

  free(block: PartsBlock): void {
    assert(this.#blocks.delete(block), 'a block is given back once');
    this.#memory!.free(block.ref);
    block.ref = NO_REF;
    const client = this.#clients.get(block.owner)!;
    client.bytes -= block.byteCount;
    client.count--;
    if (client.count === 0) this.#clients.delete(block.owner);
  }

  region(block: PartsBlock): Region {
    return this.#memory!.region(block.ref);
  }

  wordOf(block: PartsBlock): number {
    return this.#memory!.wordOffset(block.ref);
  }

  /** Takes what nobody goes on with. */
  tick(nowMs: number): void {
    if (this.#blocks.size === 0 || nowMs - this.#tickedMs < TICK_INTERVAL_MS) return;
    this.#tickedMs = nowMs;
    for (const block of this.#blocks) if (nowMs - block.lastMs > IDLE_MS_MAX) this.#lose(block);
  }

  invariants(): void {
    let byteCount = 0;
    for (const block of this.#blocks) byteCount += block.byteCount;
    let clientBytes = 0;
    for (const { bytes, count } of this.#clients.values()) {
      assert(count > 0, 'only who has blocks is counted');
      assert(bytes <= this.#room!.bytes / CLIENT_SHARE, 'a client has no more than its share');
      clientBytes += bytes;
    }
    assert(clientBytes === byteCount, 'bytes of clients are counted');
    assert(this.#blocks.size === (this.#memory?.usedBlocks ?? 0), 'every block has an owner');
  }
}
