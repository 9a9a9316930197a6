import { allocateRegion, readU53 } from '../../net/bytes.ts';
import type { ReplicaNode } from '../../src/server/replica-node.ts';
import {
  NO_RECORD,
  RECORD_BALLOT,
  RECORD_COUNTER,
  RECORD_ENVELOPE_BYTES,
  RECORD_ID,
  RECORD_PROMISE,
  RECORD_RING_COUNT,
  RECORD_SLOT,
  RECORD_TAG,
} from '../../src/store/consensus-records.ts';
import { NO_ENTRY } from '../../src/store/trusted-index.ts';
import type { WorldObserver } from './world-observer.ts';

/** Number and writer of a ballot, or of an id; number 0: none. */
interface Ballot {
  readonly number: number;
  readonly writer: string;
}

interface Proposal {
  readonly id: string;
  readonly stamp: readonly [counter: number, writerHigh: number, writerLow: number, rmw: number];
  readonly tag: string;
}

/** What a replica remembers of a key's read-modify-writes. */
interface Snapshot {
  /** That the key is idle, and its ring forgotten. */
  readonly isCompact: boolean;
  readonly slot: number;
  readonly promise: Ballot;
  readonly acceptedBallot: Ballot;
  readonly accepted: Proposal | undefined;
  /** Slot -> id. */
  readonly ring: ReadonlyMap<number, string>;
}

const NOTHING: Snapshot = {
  isCompact: false,
  slot: 0,
  promise: { number: 0, writer: '' },
  acceptedBallot: { number: 0, writer: '' },
  accepted: undefined,
  ring: new Map(),
};

interface Decision {
  readonly proposal: Proposal;
  readonly by: string;
}

/**
 * What all replicas of a simulated cluster say of read-modify-writes, put together, as nobody inside can: each slot of a key
 * is decided once, as one thing; rings agree; who has a slot has at least what that slot made; and a replica never goes back.
 */
export class ConsensusLedger {
  /** What was wrong first. */
  problem: string | undefined;
  readonly #world: WorldObserver;
  readonly #quorum: number;
  #keys: readonly { readonly key: string; readonly words: Int32Array; readonly keyBytes: number }[] = [];
  /** By instance, key, slot and ballot: what was proposed, and which incarnations have accepted it. */
  readonly #acceptances = new Map<string, { readonly proposal: Proposal; readonly acceptors: Set<string> }>();
  /** By instance, key and slot: what a quorum has accepted in one ballot. */
  readonly #decisions = new Map<string, Decision>();
  /** By the same: the id that a ring names. */
  readonly #ringIds = new Map<string, Decision['by'] | undefined>();

  constructor(world: WorldObserver, quorum: number) {
    this.#world = world;
    this.#quorum = quorum;
  }

  /** @param keys Whose records are looked at: not those of hostile clients, who commit what they like. */
  watchKeys(keys: readonly string[]): void {
    this.#keys = keys.map((key) => {
      const bytes = Buffer.from(key);
      const region = allocateRegion(bytes.length);
      region.bytes.set(bytes);
      return { key, words: region.words, keyBytes: bytes.length };
    });
  }

  /** Looks at the replica's records whenever it has handled what was in one datagram. */
  watch(name: string, node: ReplicaNode): void {
    const { replica } = node;
    const before = new Map<string, Snapshot>();
    const onMessages = replica.onMessages.bind(replica);
    replica.onMessages = (incoming, nowMs) => {
      onMessages(incoming, nowMs);
      if (node.formation.isActive && node.store.consensus.count > 0) this.#look(name, node, before);
    };
  }

  #look(name: string, node: ReplicaNode, earlier: Map<string, Snapshot>): void {
    const { store } = node;
    for (const { key, words, keyBytes } of this.#keys) {
      const entry = store.find(words, 0, keyBytes);
      const record = entry === NO_ENTRY ? NO_RECORD : store.consensus.find(entry);
      if (record === NO_RECORD) continue;
      const now = snapshotOf(node, record);
      const before = earlier.get(key) ?? NOTHING;
      earlier.set(key, now);
      const where = `${node.formation.instance!.id} ${key}`;
      this.#compare(`${name}, ${key}`, before, now);
      this.#remember(where, name, node, now);
      const decision = this.#decisions.get(`${where} ${now.slot}`);
      if (decision === undefined) continue;
      const order = store.compareStamp(entry, ...decision.proposal.stamp);
      if (order < 0) {
        this.#report(`${name} has slot ${now.slot} of ${key} and a stamp older than what that slot made`);
      }
    }
  }

  /** What one replica never does, and what it did. */
  #compare(where: string, before: Snapshot, now: Snapshot): void {
    if (now === before) return;
    if (now.slot < before.slot) this.#report(`${where}: slot ${before.slot} is followed by ${now.slot}`);
    if (compareBallots(now.acceptedBallot, now.promise) > 0) this.#report(`${where}: more is accepted than promised`);
    if (now.isCompact && !before.isCompact) {
      this.#world.rule(now.promise.number > 0 ? 'record with a promise made compact' : 'record made compact');
    }
    if (!now.isCompact && before.isCompact) this.#world.rule('compact record expanded');
    if (now.slot > before.slot) {
      this.#world.rule('slot decided', now.slot - before.slot);
      if (now.slot > before.slot + 1) this.#world.rule('slots jumped over');
      if (before.accepted !== undefined && now.ring.get(before.slot + 1) !== before.accepted.id) {
        this.#world.rule('accepted and not decided');
      }
      return;
    }
    if (compareBallots(now.promise, before.promise) < 0) this.#report(`${where}: a promise is forgotten`);
    if (compareBallots(now.acceptedBallot, before.acceptedBallot) < 0) {
      this.#report(`${where}: what was accepted is forgotten`);
    }
    if (before.promise.number > 0 && !now.isCompact && compareBallots(now.promise, before.promise) > 0) {
      this.#world.rule('promise overtaken by a higher ballot');
    }
    if (before.accepted !== undefined && compareBallots(now.acceptedBallot, before.acceptedBallot) > 0) {
      const isSame = now.accepted!.id === before.accepted.id;
      this.#world.rule(isSame ? 'accepted again under a higher ballot' : 'accepted instead of another');
    }
    if (now.ring.size > before.ring.size) this.#world.rule('rings merged');
  }

  #remember(where: string, name: string, node: ReplicaNode, now: Snapshot): void {
    for (const [slot, id] of now.ring) {
      if (slot > now.slot) this.#report(`${name} has an id for slot ${slot}, which is not decided there: ${where}`);
      const place = `${where} ${slot}`;
      const other = this.#ringIds.get(place);
      if (other === undefined) this.#ringIds.set(place, id);
      else if (other !== id)
        this.#report(`slot ${slot} is decided twice: as ${other} and, at ${name}, as ${id}: ${where}`);
      const decided = this.#decisions.get(place)?.proposal.id ?? id;
      if (decided !== id) this.#report(`slot ${slot} is decided as ${decided}, and ${name} says ${id}: ${where}`);
    }
    if (now.accepted === undefined) return;
    const slot = now.slot + 1;
    const { number, writer } = now.acceptedBallot;
    const ballot = `${where} ${slot} ${number}.${writer}`;
    const acceptance = this.#acceptances.get(ballot) ?? { proposal: now.accepted, acceptors: new Set() };
    this.#acceptances.set(ballot, acceptance);
    if (textOf(acceptance.proposal) !== textOf(now.accepted)) {
      this.#report(`ballot ${number}.${writer} proposes two things in slot ${slot}: ${where}`);
    }
    acceptance.acceptors.add(node.formation.incarnation);
    if (acceptance.acceptors.size >= this.#quorum) this.#decide(`${where} ${slot}`, acceptance.proposal, ballot);
  }

  #decide(place: string, proposal: Proposal, by: string): void {
    const other = this.#decisions.get(place);
    if (other === undefined) this.#decisions.set(place, { proposal, by });
    else if (textOf(other.proposal) !== textOf(proposal)) {
      this.#report(`a slot is decided twice: ${textOf(other.proposal)} by ${other.by}; ${textOf(proposal)} by ${by}`);
    }
  }

  #report(problem: string): void {
    this.#world.tell(`CONSENSUS: ${problem}`);
    this.problem ??= problem;
  }
}

function snapshotOf({ store }: ReplicaNode, record: number): Snapshot {
  const { consensus } = store;
  const words = consensus.words(record);
  const at = consensus.wordOffset(record);
  const acceptedBallot = ballotAt(words, at + RECORD_BALLOT);
  const ring = new Map<number, string>();
  for (let place = 0; place < RECORD_RING_COUNT; place++) {
    const word = consensus.ringWord(record, place);
    const slot = readU53(words, word);
    if (slot > 0) ring.set(slot, idAt(words, word + 2));
  }
  return {
    isCompact: !consensus.isFull(record),
    slot: readU53(words, at + RECORD_SLOT),
    promise: ballotAt(words, at + RECORD_PROMISE),
    acceptedBallot,
    accepted:
      acceptedBallot.number === 0
        ? undefined
        : {
            id: idAt(words, at + RECORD_ID),
            stamp: [
              readU53(words, at + RECORD_COUNTER),
              words[at + RECORD_COUNTER + 3]!,
              words[at + RECORD_COUNTER + 2]!,
              words[at + RECORD_COUNTER + 4]!,
            ],
            tag: [words[at + RECORD_ENVELOPE_BYTES]!, ...words.subarray(at + RECORD_TAG, at + RECORD_TAG + 4)].join(
              '.',
            ),
          },
    ring,
  };
}

function ballotAt(words: Int32Array, word: number): Ballot {
  return { number: readU53(words, word), writer: writerAt(words, word + 2) };
}

/** Writer id, sequence number. */
function idAt(words: Int32Array, word: number): string {
  return `${writerAt(words, word)}#${readU53(words, word + 2)}`;
}

function writerAt(words: Int32Array, word: number): string {
  const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return hex(words[word + 1]!) + hex(words[word]!);
}

function compareBallots(a: Ballot, b: Ballot): number {
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  return a.writer === b.writer ? 0 : a.writer < b.writer ? -1 : 1;
}

function textOf({ id, stamp, tag }: Proposal): string {
  return `${id} ${stamp.join('.')} ${tag}`;
}
