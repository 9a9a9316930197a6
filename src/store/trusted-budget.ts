import { assert } from '../../net/assert.ts';

/**
 * Counts every trusted byte before it is allocated. The limit is hard: who gets no reservation allocates nothing and
 * refuses the work that needed it, with everything else left as it was.
 *
 * Accounts name who holds the bytes, for status and for finding leaks; they have no limits of their own.
 */

/** The enclave page cache of SGX 1 is 128 MiB; a TEE with more memory is given more by its operator. */
export const TRUSTED_BYTES_DEFAULT = 128 * 1024 * 1024;

/**
 * Reserved for each typed array beside its contents: the view and its buffer on the heap (200 bytes) and the allocator's
 * records. Measured on Node 20 as growth of the resident set: under 750 bytes.
 */
export const TYPED_ARRAY_OVERHEAD_BYTES = 1024;

export class TrustedBudget {
  readonly bytesMax: number;
  /** Never exceeds bytesMax; the sum of all accounts. */
  private usedBytes = 0;
  private readonly accounts = new Map<string, number>();

  constructor(bytesMax = TRUSTED_BYTES_DEFAULT) {
    assert(Number.isSafeInteger(bytesMax) && bytesMax >= 0, 'a budget is a whole number of bytes');
    this.bytesMax = bytesMax;
  }

  /** For memory that counts against nothing: a client's values in flight. */
  static unbounded(): TrustedBudget {
    return new TrustedBudget(Number.MAX_SAFE_INTEGER);
  }

  get used(): number {
    return this.usedBytes;
  }

  get available(): number {
    return this.bytesMax - this.usedBytes;
  }

  /** All of it or nothing. */
  tryReserve(account: string, bytes: number): boolean {
    assert(Number.isSafeInteger(bytes) && bytes >= 0, 'a reservation is a whole number of bytes');
    if (bytes > this.available) return false;
    this.usedBytes += bytes;
    this.accounts.set(account, (this.accounts.get(account) ?? 0) + bytes);
    return true;
  }

  release(account: string, bytes: number): void {
    const held = this.accounts.get(account) ?? 0;
    assert(Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= held, 'only what an account holds is released');
    this.usedBytes -= bytes;
    this.accounts.set(account, held - bytes);
  }

  byAccount(): ReadonlyMap<string, number> {
    return this.accounts;
  }

  invariants(): void {
    let sum = 0;
    for (const bytes of this.accounts.values()) sum += bytes;
    assert(sum === this.usedBytes, 'the accounts add up to what is used');
    assert(this.usedBytes >= 0 && this.usedBytes <= this.bytesMax, 'the budget is kept');
  }
}
