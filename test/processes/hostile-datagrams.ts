import type { Random } from '../../bench/random.ts';
import { readU53, regionOf, writeU53 } from '../../net/bytes.ts';
import type { DropReason } from '../../net/drops.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import {
  HEADER_BYTES,
  HINT_BYTES,
  KIND_DATA,
  KIND_HINT,
  KIND_REQUEST,
  KIND_RESPONSE,
  OFFSET_KIND,
  OFFSET_MODE,
  OFFSET_SESSION,
  OFFSET_VERSION,
} from '../../net/wire.ts';

/** What a hostile network can send to a replica, each kind with the reason that it must be dropped for. */
export interface Attack {
  readonly name: string;
  /** Undefined: whatever the datagram happens to look like. */
  readonly reason: DropReason | undefined;
  /** The address that the replica knows a client by, or one that it has never heard of. */
  readonly from: 'client' | 'stranger';
  /** @param recorded A datagram of the client's that the replica has taken already; a copy. */
  readonly make: (recorded: Uint8Array, random: Random) => Uint8Array;
  /** How many are sent without waiting; fewer of the large ones, so that the receive buffer holds them. */
  readonly batch: number;
  readonly count: number;
}

/** Largest UDP payload over IPv4; no multiple of 8, so that no datagram of ours has it. */
const UDP_BYTES_MAX = 65_507;
const UDP_BYTES_MAX_ALIGNED = UDP_BYTES_MAX & ~7;
/** A client reaches such packet numbers after years. */
const FRESH_NUMBERS_FROM = 2 ** 45;
const WORD_NUMBER = 2;

const MANY = { batch: 16, count: 160 };
const LARGE = { batch: 1, count: 24 };

export const ATTACKS: readonly Attack[] = [
  {
    name: 'garbage of any length',
    reason: undefined,
    from: 'stranger',
    make: (_, random) => noise(random, below(random, 2_000)),
    ...MANY,
  },
  {
    name: 'datagrams cut to less than a header',
    reason: 'short',
    from: 'client',
    make: (recorded, random) => recorded.subarray(0, below(random, HEADER_BYTES)),
    ...MANY,
  },
  {
    name: 'datagrams that lack their end',
    reason: undefined,
    from: 'client',
    make: (recorded, random) => freshNumber(recorded, random).subarray(0, recorded.length - 8),
    ...MANY,
  },
  {
    name: 'recorded datagrams, sent again',
    reason: 'replayed',
    from: 'client',
    make: (recorded) => recorded,
    ...MANY,
  },
  {
    name: 'recorded datagrams, from another address',
    reason: 'wrong-address',
    from: 'stranger',
    make: (recorded) => recorded,
    ...MANY,
  },
  {
    name: 'datagrams with a bit flipped in their body',
    reason: 'forged',
    from: 'client',
    make: (recorded, random) => {
      const forged = freshNumber(recorded, random);
      flipBit(forged, HEADER_BYTES * 8 + below(random, (forged.length - HEADER_BYTES) * 8));
      return forged;
    },
    ...MANY,
  },
  {
    name: 'recorded datagrams with a bit flipped anywhere',
    reason: undefined,
    from: 'client',
    make: (recorded, random) => {
      flipBit(recorded, below(random, recorded.length * 8));
      return recorded;
    },
    ...MANY,
  },
  {
    name: 'datagrams of a session that there never was',
    reason: 'no-session',
    from: 'stranger',
    make: (recorded, random) => {
      regionOf(recorded.buffer).words[OFFSET_SESSION / 4] = random.nextWord();
      return recorded;
    },
    ...MANY,
  },
  {
    name: 'datagrams of another wire version',
    reason: 'unknown-version',
    from: 'client',
    make: (recorded) => withByte(recorded, OFFSET_VERSION, 99),
    ...MANY,
  },
  {
    name: 'datagrams of an unknown kind',
    reason: 'unknown-kind',
    from: 'client',
    make: (recorded) => withByte(recorded, OFFSET_KIND, 99),
    ...MANY,
  },
  {
    name: 'handshakes by one who does not know the replica’s key',
    reason: 'wrong-mac1',
    from: 'stranger',
    make: (recorded, random) => handshake(recorded, random, 'secure'),
    ...MANY,
  },
  {
    name: 'handshakes that ask for plaintext',
    reason: 'wrong-mode',
    from: 'stranger',
    make: (recorded, random) => handshake(recorded, random, 'plaintext'),
    ...MANY,
  },
  {
    name: 'answers to handshakes that the replica has not begun',
    reason: 'no-handshake',
    from: 'stranger',
    make: (recorded) => withByte(recorded, OFFSET_KIND, KIND_RESPONSE),
    ...MANY,
  },
  {
    name: 'hints that a session is forgotten',
    reason: 'no-handshake',
    from: 'stranger',
    make: (recorded) => withByte(recorded.slice(0, HINT_BYTES), OFFSET_KIND, KIND_HINT),
    ...MANY,
  },
  {
    name: 'garbage of the largest size that UDP has',
    reason: 'short',
    from: 'stranger',
    make: (_, random) => noise(random, UDP_BYTES_MAX),
    ...LARGE,
  },
  {
    name: 'datagrams of a live session, of the largest size',
    reason: 'forged',
    from: 'client',
    make: (recorded, random) => {
      const large = noise(random, UDP_BYTES_MAX_ALIGNED);
      large.set(recorded.subarray(0, HEADER_BYTES));
      return freshNumber(large, random);
    },
    ...LARGE,
  },
];

export function isData(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_DATA && datagram.length >= HEADER_BYTES + 64;
}

export function isHandshakeRequest(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_REQUEST;
}

export function isHandshakeResponse(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_RESPONSE;
}

export function noise(random: Random, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let i = 0; i < byteCount; i++) bytes[i] = random.nextWord();
  return bytes;
}

/** The replay window passes it: what refuses it is something else. */
function freshNumber(datagram: Uint8Array, random: Random): Uint8Array {
  const copy = datagram.slice();
  const { words } = regionOf(copy.buffer);
  writeU53(words, WORD_NUMBER, FRESH_NUMBERS_FROM + readU53(words, WORD_NUMBER) + below(random, 2 ** 30));
  return copy;
}

function handshake(recorded: Uint8Array, random: Random, mode: (typeof SECURITY_MODES)[number]): Uint8Array {
  const request = noise(random, 400);
  request.set(recorded.subarray(0, HEADER_BYTES));
  withByte(request, OFFSET_KIND, KIND_REQUEST);
  return withByte(request, OFFSET_MODE, SECURITY_MODES.indexOf(mode));
}

function withByte(datagram: Uint8Array, offset: number, value: number): Uint8Array {
  datagram[offset] = value;
  return datagram;
}

function flipBit(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3]! ^= 1 << (bit & 7);
}

function below(random: Random, limit: number): number {
  return Math.floor(random.nextDouble() * limit);
}
