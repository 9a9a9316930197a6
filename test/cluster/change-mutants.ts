/**
 * Rules of read-modify-writes left out on purpose, each of which once gave a counterexample in a model of the protocol.
 * Random runs of its bias show it, from seed 1 on; or a script of single steps, where they seldom do.
 */
import type { Mutant } from './mutants.ts';

const FLOW = 'src/protocol/rmw-flow.js';
const PREPARE = 'src/protocol/rmw-prepare.js';
const COMMITS = 'src/protocol/rmw-commits.js';
const PUTS = 'src/protocol/put-flow.js';
const PROMISES = 'src/protocol/rmw-promises.js';
const REQUESTS = 'src/protocol/rmw-requests.js';
const ACCEPTOR = 'src/protocol/rmw-acceptor.js';
const ACCEPTED_PARTS = 'src/protocol/accepted-parts.js';
const RECORDS = 'src/store/consensus-records.js';
const REASSEMBLIES = 'src/protocol/reassemblies.js';
const RESEALER = 'src/protocol/resealer.js';

const NOT_LINEARIZABLE = /no order of its operations fits|was read and never written|a version was replaced twice/;
/** Or what no replica may do, which is seen before any client can be misled by it (consensus-ledger.ts). */
const DECIDED_TWICE = /is decided twice|is decided as .* says/;
const OLDER_THAN_SLOT = /a stamp older than what that slot made/;
const TWO_VALUES = /a stamp names two values/;

const either = (...patterns: readonly RegExp[]): RegExp => new RegExp(patterns.map(({ source }) => source).join('|'));

/** A value that is none: of pieces, or not all of it. */
const SPOILT = /counts as tampered with though no host has|ends as unreadable|was read and never written|two values/;

const ON_DECIDED =
  "this.#commits.commit(slot, operation, operation.isHelping ? 'helped' : 'own', this.#membership.readyMask());";

export const changeMutants: readonly Mutant[] = [
  {
    name: 'answer at the majority of ACCEPT',
    bias: 'late commits',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: FLOW,
        find: ON_DECIDED,
        replace: `${ON_DECIDED}\n        if (!operation.isHelping)\n            this.#end(slot, operation.outcome);`,
      },
    ],
  },
  {
    name: 'answer on learning without a quorum that holds it',
    bias: 'rmw-learnt.trace',
    failure: /c0 incr m: ok 1[^]*c2 get m: absent/,
    substitutions: [
      {
        file: FLOW,
        find: "operation.current = operation.own;\n                this.#commits.commit(slot, operation, 'own', this.#membership.readyMask());",
        replace: "operation.commitPurpose = 'own';\n                this.#end(slot, operation.outcome);",
      },
    ],
  },
  {
    name: 'one acknowledgement of COMMIT is enough',
    bias: 'late commits',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: COMMITS,
        find: 'if (memberCountOf(this.#holdersOf(slot, operation)) < this.#quorum)',
        replace: 'if (memberCountOf(this.#holdersOf(slot, operation)) < 1)',
      },
    ],
  },
  {
    name: 'no ring: a slot that is decided was decided by another',
    bias: 'one starved',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: FLOW, find: "if (verdict === 'own') {", replace: 'if (false) {' }],
  },
  {
    name: 'move on without evidence for what was sent',
    bias: 'one starved',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      { file: FLOW, find: "if (verdict === 'unknown') {", replace: 'if (false) {' },
      // Eight decisions in between are rare; with a ring of one it is as safe.
      { file: RECORDS, find: 'export const RECORD_RING_COUNT = 8;', replace: 'export const RECORD_RING_COUNT = 1;' },
    ],
  },
  {
    // A history shows nothing wrong: what never ended may come last.
    name: 'a later put of the writer may be below what it has proposed',
    bias: 'rmw-settled.trace',
    failure: /c1 put m 7: ok[^]*c2 get m: ok 7[^]*c2 incr m: ok 7/,
    substitutions: [{ file: PUTS, find: 'this.#ownCounter = Math.max(this.#ownCounter, counter);', replace: '' }],
  },
  {
    name: 'what was sent is computed anew in its slot',
    bias: 'contention',
    failure: either(NOT_LINEARIZABLE, DECIDED_TWICE, TWO_VALUES),
    substitutions: [
      {
        file: PREPARE,
        find: "if (operation.sent === operation.slot)\n            return this.#steps.accept(slot, operation, operation.own);\n        assert(operation.sent === 0, 'a slot is left only with evidence');",
        replace: '',
      },
    ],
  },
  {
    name: 'a COMMIT without the value is taken',
    bias: 'late commits',
    failure: OLDER_THAN_SLOT,
    substitutions: [
      { file: ACCEPTOR, find: 'return FLAG_LACKING;', replace: ';' },
      {
        file: ACCEPTOR,
        find: 'if (order < 0) {',
        replace: 'if (order < 0 && (flags & (FLAG_VALUE | FLAG_TOMBSTONE)) !== 0) {',
      },
      {
        file: REQUESTS,
        find: 'const hasValue = !isTombstone && ',
        replace: 'const hasValue = false && ',
      },
    ],
  },
  {
    name: 'a promise is forgotten',
    bias: 'contention',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'this.#promise(record, words, word + WORD_PREPARE_BALLOT);',
        replace: '',
      },
    ],
  },
  {
    name: 'a proposal below the promise is accepted',
    bias: 'contention',
    failure: /a promise is forgotten/,
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'if (this.#comparePromise(record, words, word + WORD_ACCEPT_BALLOT) > 0 || ',
        replace: 'if (',
      },
    ],
  },
  {
    name: 'a proposal for a past slot is accepted',
    bias: 'lost accepts',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'const slot = readU53(words, word + WORD_ACCEPT_SLOT);\n        if (decided >= slot)',
        replace: 'const slot = readU53(words, word + WORD_ACCEPT_SLOT);\n        if (false)',
      },
    ],
  },
  {
    name: 'a proposal ahead of the slot is accepted',
    bias: 'rmw-ahead.trace',
    failure: /COMMIT m slot 2 .* ring 2:1@1[^]*COMMIT m slot 2 .* ring 2:1@2/,
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'if (decided < slot - 1)\n            return this.#answers.behind(session, messenger, words, word, decided);\n        if (this.#comparePromise(record, words, word + WORD_ACCEPT_BALLOT)',
        replace: 'if (this.#comparePromise(record, words, word + WORD_ACCEPT_BALLOT)',
      },
    ],
  },
  {
    name: 'what was accepted is not helped',
    bias: 'contention',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [{ file: PREPARE, find: 'if (operation.hasAccepted) {', replace: 'if (false) {' }],
  },
  {
    name: 'the proposal of the lowest ballot is helped',
    bias: 'lost accepts',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [
      {
        file: PROMISES,
        find: 'compareBallots(words, word + WORD_ACCEPTED_BALLOT, operation.acceptedBallot, 0) > 0;',
        replace: 'compareBallots(words, word + WORD_ACCEPTED_BALLOT, operation.acceptedBallot, 0) < 0;',
      },
    ],
  },
  {
    name: 'help with the own base',
    bias: 'half changes',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [
      {
        file: PREPARE,
        find: 'const { accepted } = operation;\n',
        replace:
          'const { accepted } = operation;\n        accepted.setStamp(this.#table.counter[slot], this.#table.writerHigh[slot], this.#table.writerLow[slot], this.#table.rmw[slot] + 1);\n',
      },
    ],
  },
  {
    name: 'help under the own id',
    bias: 'contention',
    failure: either(DECIDED_TWICE, NOT_LINEARIZABLE, TWO_VALUES),
    substitutions: [
      {
        file: PREPARE,
        find: 'const { accepted } = operation;\n',
        replace: 'const { accepted } = operation;\n        accepted.words.set(operation.own.words.subarray(0, 4));\n',
      },
    ],
  },
  {
    name: 'the base is that of the first reply',
    bias: 'contention',
    failure: either(NOT_LINEARIZABLE, OLDER_THAN_SLOT),
    substitutions: [
      {
        file: PROMISES,
        find: 'if (order < 0)\n        return order;',
        replace: 'if (order < 0 || (order > 0 && table.holders[slot] !== 0))\n        return -1;',
      },
    ],
  },
  {
    name: 'what was accepted is kept across slots',
    bias: 'contention',
    failure: either(DECIDED_TWICE, /more is accepted than promised/),
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'this.#releaseAccepted(record);\n            target.fill(0, at + RECORD_PROMISE, at + RECORD_REF);',
        replace: 'target.fill(0, at + RECORD_PROMISE, at + RECORD_PROMISE + 4);',
      },
    ],
  },
  {
    name: 'a record is made compact in which something is accepted',
    bias: 'lost accepts',
    failure: either(/what was accepted is forgotten/, DECIDED_TWICE, NOT_LINEARIZABLE),
    substitutions: [
      {
        file: RECORDS,
        find: 'if (readU53(words, word + RECORD_BALLOT) !== 0)\n            return false;',
        replace: '',
      },
    ],
  },
  {
    name: 'a compact record forgets its slot',
    bias: 'contention',
    failure: either(/slot \d+ is followed by/, DECIDED_TWICE, NOT_LINEARIZABLE),
    substitutions: [{ file: RECORDS, find: 'CELL_FIRST] = slot | 0;', replace: 'CELL_FIRST] = 0;' }],
  },
  {
    name: 'a compact record forgets its promise',
    bias: 'contention',
    failure: either(/a promise is forgotten/, DECIDED_TWICE, NOT_LINEARIZABLE),
    substitutions: [{ file: RECORDS, find: 'promise === 0 ? 0 : packUp(promise + 1);', replace: '0;' }],
  },
  {
    name: 'the promise of a compact record is less than what was promised',
    bias: 'contention',
    failure: either(/a promise is forgotten/, DECIDED_TWICE, NOT_LINEARIZABLE),
    substitutions: [{ file: RECORDS, find: 'packUp(promise + 1);', replace: 'packUp(promise);' }],
  },
  {
    name: 'data key destroyed while values lie under it',
    bias: 'rotation',
    failure: /after the rotation a get of .* ends as unreadable|counts as tampered with though no host has/,
    substitutions: [
      {
        file: RESEALER,
        find: 'noteUse(id, found.count, found.wasClosing)',
        replace: 'noteUse(id, 0, found.wasClosing)',
      },
      {
        file: RESEALER,
        find: 'if (this.#burstLeft < valueCount && !isFirst)',
        replace: 'if (nowMs > 0)\n            return true;\n        if (isFirst)',
      },
    ],
  },
  // -- values by parts --
  {
    name: 'an ACCEPT counts before all parts of its value have come',
    bias: 'large changes',
    failure: SPOILT,
    substitutions: [
      {
        file: REASSEMBLIES,
        find: 'return this.isStaged && this.isWhole',
        replace: 'return this.isStaged && this.keyBytes > 0',
      },
    ],
  },
  {
    name: 'parts of two proposals are mixed: the peer is taken for enough',
    bias: 'large changes',
    failure: SPOILT,
    substitutions: [
      {
        file: REASSEMBLIES,
        find: 'if (isNamed(one, peer.key, words, word + WORD_WRITE_COUNTER, word + WORD_WRITE_TAG) &&',
        replace:
          'if ((isStaged ? one.peerKey === peer.key && !one.isDone : isNamed(one, peer.key, words, word + WORD_WRITE_COUNTER, word + WORD_WRITE_TAG)) &&',
      },
      { file: REASSEMBLIES, find: '(!isStaged || hasId(one, words, word + WORD_STAGE_ID))', replace: 'true' },
      {
        file: REASSEMBLIES,
        find: 'if (!isNamed(one, peer.key, words, stampWord, tagWord) || !hasId(one, words, idWord))',
        replace: 'if (one.peerKey !== peer.key)',
      },
    ],
  },
  {
    name: 'what was accepted is pulled whatever its id',
    bias: 'rmw-parts-replaced.trace',
    failure: /READ_ACCEPTED\n +r0 -> c1 READ_PART_REPLY 0\+96/,
    substitutions: [
      {
        file: ACCEPTED_PARTS,
        find: 'if (isAsked && byteOffset + byteCount',
        replace: 'if (byteOffset + byteCount',
      },
    ],
  },
  {
    name: 'a COMMIT takes what was accepted for what was decided',
    bias: 'rmw-parts-other.trace',
    failure: /deliver c2 r0 COMMIT\n +r0 -> c2 COMMIT_REPLY\n/,
    substitutions: [
      {
        file: ACCEPTED_PARTS,
        find: 'equalWords(held, at + RECORD_ID, words, idWord, 4) &&\n            equalWords(held, at + RECORD_COUNTER, words, word + WORD_COMMIT_COUNTER, 5) &&\n            equalWords(held, at + RECORD_TAG, words, word + WORD_COMMIT_TAG, 4) &&',
        replace: '',
      },
    ],
  },
  {
    name: 'data key used before all members hold it',
    bias: 'rotation',
    failure: /counts as tampered with though no host has|ends as unreadable/,
    substitutions: [
      {
        file: 'src/trust/chain/key-rotation.js',
        find: 'if (waitsFor(state, key).length > 0 || !isWaitOver(state, key, nowMs))',
        replace: "if (key.phase !== 'announced' && waitsFor(state, key).length > 0)",
      },
    ],
  },
];
