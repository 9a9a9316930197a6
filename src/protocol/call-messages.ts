/**
 * Messages of the coordinated route (docs/wire.md): a client asks one replica to carry out an operation for it.
 *
 *     CALL_OPEN    ->   "I am going to have at most so many calls at once"
 *     CALL_OPENED  <-   number of the stream that its calls belong to
 *     CALL         ->   stream, slot and generation name the call; key and value in the control part
 *     CALL_REPLY   <-   how it ended, and the value of a get
 *
 * A client puts its calls into slots, one at a time each, and counts them (the generation): so the replica knows by a
 * word a slot which calls it has seen, as an NFS server does (RFC 8881, 2.10.6). A stream is what the replica remembers of
 * a client; its number is never given twice, so a call of a stream that it has forgotten is never run again.
 */
export const MESSAGE_CALL = 16;
export const MESSAGE_CALL_REPLY = 17;
export const MESSAGE_CALL_OPEN = 18;
export const MESSAGE_CALL_OPENED = 19;

/** CALL: the flags say what is to be done, as OPERATION_* of operation-table.ts. */
export const CALL_KIND_MAX = 2;

/**
 * CALL: key bytes u32, value bytes u32, stream u32, milliseconds until the deadline u32, attempt u32, 0 u32; then key and
 * value, padded each. The attempt counts how often the client has sent the call.
 */
export const WORD_CALL_KEY_BYTES = 2;
export const WORD_CALL_VALUE_BYTES = 3;
export const WORD_CALL_STREAM = 4;
export const WORD_CALL_DEADLINE_MS = 5;
export const WORD_CALL_ATTEMPT = 6;
export const WORD_CALL_KEY = 8;
export const CALL_BYTES = 32;

/**
 * CALL_REPLY: the flags say how it ended (src/coordinated/call-outcome.ts). Stream u32, value bytes u32, attempt of the CALL
 * that this answers u32 (so that round trips are known though calls are repeated), 0 u32; then the value, padded.
 */
export const WORD_CALL_REPLY_STREAM = 2;
export const WORD_CALL_REPLY_VALUE_BYTES = 3;
export const WORD_CALL_REPLY_ATTEMPT = 4;
export const WORD_CALL_REPLY_VALUE = 6;
export const CALL_REPLY_BYTES = 24;

/** CALL_OPEN: calls at once u32, 0 u32. */
export const WORD_CALL_SLOTS = 2;
export const CALL_OPEN_BYTES = 16;

/** CALL_OPENED: stream u32, 0 when the replica takes none now; 0 u32. */
export const WORD_CALL_OPENED_STREAM = 2;
export const CALL_OPENED_BYTES = 16;
export const NO_STREAM = 0;

/** Calls that a client may have under way at one replica: more than saturate it, and 64 KiB of its trusted memory. */
export const CALL_SLOTS_MAX = 4_096;
