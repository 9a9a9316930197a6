/** What became of a write: numbers, because they are answered on the hot path. */
export const APPLIED = 0;
/** The trusted budget has no room for the entry, the key or the allocator's state. Nothing was changed. */
export const TRUSTED_FULL = 1;
/** Host memory is at its limit for blocks of this size. Nothing was changed. */
export const HOST_FULL = 2;

export type Refusal = typeof TRUSTED_FULL | typeof HOST_FULL;
export type WriteResult = typeof APPLIED | Refusal;
