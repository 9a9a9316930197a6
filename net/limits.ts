import { assert } from './assert.ts';

/** Every bound of the message layer, with its reason. Relations between them are asserted at the end. */

/** Changes with every change of docs/wire.md; golden packets are kept by version. */
export const WIRE_VERSION = 4;

/** Largest UDP payload over IPv4 is 65,507 bytes (RFC 768, 791); ours are multiples of 8. */
export const DATAGRAM_BYTES_MAX = 65_504;
/** A path must carry 1,200 bytes to be of use (RFC 9000, 14); handshakes stay far below. */
export const DATAGRAM_BYTES_MIN = 1_200;
/** Poly1305's tag (RFC 8439); none in plaintext. */
export const DATAGRAM_TAG_BYTES_MAX = 16;
/** Ethernet's MTU of 1,500 less 20 bytes of IPv4 and 8 of UDP header. */
export const DATAGRAM_BYTES_ETHERNET = 1_472;
/**
 * Loopback's MTU is 65,536; 16 KiB was the fastest size measured (ratio 1.28 to 8 KiB; 32 and 60 KiB less). 256 bytes more
 * have room for heads, tags and a usual key beside 16 KiB of a value, or larger values take a part more.
 */
export const DATAGRAM_BYTES_LOOPBACK = 16_640;

/** Outgoing datagrams under construction, being sealed, or held by the kernel, at once. */
export const SEND_SLOTS = 256;
/** So many of them are left to sessions: what strangers are answered, cookies above all, takes the others only. */
export const SEND_SLOTS_OF_SESSIONS = 128;
/** Fewer free ones: what has arrived waits for the next turn, when datagrams have left; its answers would be lost. */
export const SEND_SLOTS_FREE_MIN = 128;
/**
 * A datagram of Ethernet's size asks for so many parts of answers to calls at most, or 22 of values, each of which is a
 * datagram. (A larger one may ask for more: what its sender's window holds, 183 of 16 KiB in a buffer of 4 MiB.)
 */
export const ANSWERS_A_DATAGRAM_MAX = 59;
/** So many datagrams are handled before that is looked at again. */
export const HANDLED_AT_ONCE_MAX = 2;
/** Datagrams received and not yet handled. Node hands over at most 32 a poll; workers may hold more later. */
export const RECEIVE_SLOTS = 1_024;

/**
 * A received datagram so long is given back to the transport when all of it is copied. V8 counts the memory of datagrams
 * beside its heap and collects that for every 30 MB of them, once it holds more than 8 MB of objects: measured a datagram
 * of 16 KiB, with 12 MB of objects, 11.4 us of CPU without and 6.1 with it (65,504 bytes: 51 and 7; 4 KiB: 5.4 and 4.3;
 * 1,472: 4.5 and 4.1, and there it is no longer certain).
 */
export const RELEASE_BYTES_MIN = 4_096;

/** Sessions of one process, both directions; a power of two, the session index's low bits. */
export const SESSIONS_MAX = 4_096;
/** Trusted bytes a session takes at most: replay window 1 KiB, two keys, its record. Measured: 1.4 KiB. */
export const SESSION_BYTES = 1_536;
/** Half-open sessions cost memory before the peer has proved anything. */
export const HALF_OPEN_MAX = 256;
/** So many of them for one host: 64 clients of one machine may start at once, and a few hosts can't fill the table. */
export const HALF_OPEN_PER_HOST_MAX = 64;
/** A peer that answers message 2 at all does so within seconds. */
export const HALF_OPEN_TIMEOUT_MS = 5_000;
/** From so many half-open sessions on, message 1 must carry a cookie (WireGuard whitepaper 5.3). */
export const COOKIE_HALF_OPEN_MIN = 32;
/**
 * A handshake costs 0.5 to 2 ms, most of it Diffie-Hellman. So many at once, after a rest, come without a cookie: the clients
 * of one machine that start together. Then there are none until no request has come for the interval: a flood that got them
 * one by one, 62 ms apart, stopped a replica for 1 to 3 % of the time, and that was what the p99 of others' operations showed.
 */
export const COOKIE_HANDSHAKES_MIN = 16;
export const COOKIE_HANDSHAKES_INTERVAL_MS = 1_000;
/** And so many an interval for those that show a cookie; half of them for one host, whose clients may start together, too. */
export const PROVED_HANDSHAKES_MAX = 32;
export const HANDSHAKES_PER_HOST_MAX = 16;
export const COOKIE_INTERVAL_MS = 100;
/** Life of the secret that cookies are made with (WireGuard whitepaper 5.4.7). */
export const COOKIE_SECRET_MS = 120_000;
/**
 * So many requests for handshakes are looked at before sessions have their turn again. Each costs a hash or two and an answer,
 * some 25 us, and what has come for sessions meanwhile waits for all of them.
 */
export const REQUESTS_AT_ONCE_MAX = 8;
/**
 * And so many a second are looked at as they come, those of clients that start together. Further ones ask for no turn, and
 * wait until they are as many as above, or for so long: looked at one by one a request costs some 50 us, most of it for
 * waking up to it, and one of several 10 us.
 */
export const REQUESTS_URGENT_MAX = 64;
export const REQUESTS_URGENT_INTERVAL_MS = 1_000;
export const REQUESTS_WAIT_MS = 10;
/** Clear-text refusals are a courtesy: so many an interval, never longer than what they answer. */
export const HINTS_MAX = 64;
export const HINTS_INTERVAL_MS = 1_000;

/** Session life (WireGuard whitepaper 6.1): renew, then refuse. */
export const RENEW_AFTER_MS = 120_000;
export const REFUSE_AFTER_MS = 180_000;
export const RENEW_AFTER_PACKETS = 2 ** 32;
export const REFUSE_AFTER_PACKETS = 2 ** 32 + 2 ** 24;
/** Forged packets a key tolerates with ChaCha20-Poly1305 (RFC 9001, 6.6). */
export const FORGERIES_MAX = 2 ** 36;
/** After renewal the old session still receives what was under way. */
export const RETIRE_GRACE_MS = 5_000;
/** A live session that has been silent so long may make room for a new one when the table is full. */
export const EVICT_IDLE_MS = 10_000;
/** Packets a session's window looks back (RFC 6479; 128 words of 64 bits less one, as WireGuard). */
export const REPLAY_WINDOW_PACKETS = 8_128;

/** Handshakes and the life of sessions are looked after so often: finely enough for the times below. */
export const TICK_INTERVAL_MS = 10;
/** First repetition of message 1; doubles up to the maximum. A handshake takes 1 to 3.5 ms of CPU, more under load. */
export const HANDSHAKE_RETRY_MS_MIN = 250;
export const HANDSHAKE_RETRY_MS_MAX = 2_000;
/** A handshake that nobody answered for so long begins anew, with a fresh key (WireGuard's REKEY_ATTEMPT_TIME). */
export const HANDSHAKE_GIVE_UP_MS = 90_000;
/** Nothing received for so long after sending: the peer may have lost the session, a new handshake is tried. */
export const SILENCE_MS = 1_000;
/** Messages that got no answer for so long are acknowledged by an empty datagram (WireGuard's passive keepalive). */
export const ACKNOWLEDGE_AFTER_MS = 250;

/** Packets remembered to learn how many bytes are in flight; a power of two. */
export const FLIGHT_PACKETS_MAX = 1_024;
/** No progress for so long: what is in flight is taken as lost (doubled each time, RFC 9002 6.2). */
export const FLIGHT_TIMEOUT_MS_MIN = 20;
export const FLIGHT_TIMEOUT_MS_MAX = 1_000;
/** Part of the receive buffer that is divided among those that send; the rest is for handshakes and bursts after idling. */
export const CREDIT_PART = 3 / 4;
/** Who has sent within this time has a share. A grant that is older than that is good for a part of itself only. */
export const CREDIT_AGE_MS = 1_000;
export const CREDIT_OLD_PART = 1 / 4;
/**
 * A share that is smaller than a datagram may be used at once for several of its rounds: a datagram costs both ends the
 * same however little it carries. With 64 senders on 212,992 bytes a share holds 2 operations, a datagram 25.
 */
export const BURST_SHARES_MAX = 8;
/** The rest after that, at the most: answers can be late for reasons that have nothing to do with the receiver's buffer. */
export const BURST_REST_MS_MAX = 50;
/** What a datagram takes of the receiver's buffer beside its bytes: the kernel's own record (Linux: 768 bytes). */
export const DATAGRAM_RECORD_BYTES = 768;
/** Part of the credit that fragments of large values leave to small messages, which would else wait behind them. */
export const BULK_RESERVE_PART = 1 / 4;
/** Less than this nobody is granted: the smallest path's datagram, or handshakes and small requests would crawl. */
export const CREDIT_BYTES_MIN = DATAGRAM_BYTES_MIN + DATAGRAM_RECORD_BYTES;

assert((SESSIONS_MAX & (SESSIONS_MAX - 1)) === 0, 'the session index masks with SESSIONS_MAX - 1');
assert((FLIGHT_PACKETS_MAX & (FLIGHT_PACKETS_MAX - 1)) === 0, 'the flight ring masks with FLIGHT_PACKETS_MAX - 1');
assert(HANDSHAKES_PER_HOST_MAX < PROVED_HANDSHAKES_MAX, 'one host must not use up the handshakes of all');
assert(HALF_OPEN_PER_HOST_MAX < HALF_OPEN_MAX, 'one host must not fill the table');
assert(SEND_SLOTS_FREE_MIN < SEND_SLOTS, 'something is handled when nothing is being sent');
assert(
  HANDLED_AT_ONCE_MAX * ANSWERS_A_DATAGRAM_MAX <= SEND_SLOTS_FREE_MIN,
  'what is handled at once finds slots for all of its answers',
);
assert(SEND_SLOTS_OF_SESSIONS < SEND_SLOTS, 'handshakes need slots, too');
assert(
  COOKIE_HALF_OPEN_MIN < HALF_OPEN_PER_HOST_MAX,
  'addresses are proved before a share can be used up in their name',
);
assert(COOKIE_HALF_OPEN_MIN < HALF_OPEN_MAX, 'cookies must start before the half-open table is full');
assert(HALF_OPEN_MAX < SESSIONS_MAX / 2, 'half-open sessions must not crowd out live ones');
assert(ACKNOWLEDGE_AFTER_MS * 2 < SILENCE_MS, 'who is there must not seem silent');
assert(RENEW_AFTER_MS + HANDSHAKE_RETRY_MS_MAX * 10 < REFUSE_AFTER_MS, 'renewal needs time for several tries');
assert(
  DATAGRAM_BYTES_MAX % 8 === 0 && DATAGRAM_BYTES_LOOPBACK % 8 === 0 && DATAGRAM_BYTES_ETHERNET % 8 === 0,
  'datagrams are multiples of 8',
);
