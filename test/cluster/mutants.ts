/**
 * Rules of the protocol left out on purpose, one a mutant, as substitutions in the compiled code. Each rule is there
 * because leaving it out once gave a counterexample, so the simulated cluster must find one, too.
 */
import type { Substitution } from '../tooling/mutated-copy.ts';
import type { Bias } from './random-plan.ts';
import { scanMutants } from './scan-mutants.ts';

/** A file in test/protocol/traces. */
export type Script = `${string}.trace`;

export interface Mutant {
  readonly name: string;
  /** What a run must say: a mutant that only breaks down proves nothing. */
  readonly failure: RegExp;
  /** The runs that show it soon; or a script of single steps, where chance would seldom bring it about. */
  readonly bias: Bias | Script;
  readonly substitutions: readonly Substitution[];
  /** Where few runs show it: how many are looked at. */
  readonly seedCountMax?: number;
}

const COORDINATOR = 'src/protocol/coordinator.js';
const GET = 'src/protocol/get-flow.js';
const PUT = 'src/protocol/put-flow.js';
const REPLICA = 'src/protocol/replica.js';
const PERMISSIONS = 'src/protocol/permissions.js';
const CALL_SERVER = 'src/coordinated/call-server.js';
const STORE = 'src/store/store.js';
const REASSEMBLIES = 'src/protocol/reassemblies.js';

const CALL_ATTEMPTS = 'src/coordinated/call-attempts.js';
const CALL_CLIENT = 'src/coordinated/call-client.js';
const CALL_SLOTS = 'src/coordinated/call-slots.js';
const CALL_TABLE = 'src/coordinated/call-table.js';

const NOT_LINEARIZABLE = /no order of its operations fits|was read and never written/;
/** Or what shows first, when the runs have read-modify-writes, too: see change-mutants.ts. */
const ONE_VERSION_TWICE = /two writes made one version|one version names two states/;
const NOT_ONE_DECISION = /is decided twice|is decided as .* says/;
const OLDER_THAN_SLOT = /a stamp older than what that slot made/;

/** In plaintext what is mixed up of two values is read; else it does not open, and nobody has tampered with it. */
const MIXED_UP =
  /was read and never written|no order of its operations fits|counts as tampered with though no host has/;

const ANSWER_READ = "this.#end(slot, this.#table.tombstone[slot] === 1 ? 'absent' : 'ok');";

const either = (...patterns: readonly RegExp[]): RegExp => new RegExp(patterns.map(({ source }) => source).join('|'));

/** Rules of permissions: a client whose grants are of other keys tries everything with those that are judged. */
const permissionMutants: readonly Mutant[] = [
  {
    name: 'permissions are not looked at',
    bias: 'hostile',
    failure: /a client is told of keys outside of its grants/,
    substitutions: [{ file: REPLICA, find: 'permissions.isAll || isPermitted(', replace: 'true || isPermitted(' }],
  },
  {
    name: 'nor by who coordinates for a client',
    bias: 'hostile',
    failure: either(NOT_LINEARIZABLE, /told of keys outside/),
    substitutions: [{ file: CALL_SERVER, find: 'if (!isCallPermitted(', replace: 'if (false && !isCallPermitted(' }],
  },
  ...[
    ['a WRITE', 'case MESSAGE_WRITE:'],
    ['parts of a value', 'case MESSAGE_WRITE_PART:'],
    ['COMMIT', 'case MESSAGE_COMMIT:'],
  ].map(
    ([what, find]): Mutant => ({
      name: `nor at ${what}`,
      bias: 'hostile',
      failure: either(NOT_LINEARIZABLE, NOT_ONE_DECISION, OLDER_THAN_SLOT, /ends as unreadable|told of keys outside/),
      substitutions: [{ file: PERMISSIONS, find: find!, replace: `${find} return true;` }],
    }),
  ),
];

export const mutants: readonly Mutant[] = [
  ...permissionMutants,
  {
    name: 'no write-back',
    bias: 'half writes',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      { file: GET, find: '    writeBack(slot) {', replace: `    writeBack(slot) {\n        return ${ANSWER_READ}` },
    ],
  },
  {
    name: "answer before the write-back's quorum",
    bias: 'half writes',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: GET,
        find: 'this.#rounds.askFirst(slot, this.#membership.readyMask() & ~this.#table.holders[slot]);',
        replace: `this.#rounds.askFirst(slot, this.#membership.readyMask() & ~this.#table.holders[slot]);\n        ${ANSWER_READ}`,
      },
    ],
  },
  {
    name: 'who may not write answers before a replica has finished its read',
    bias: 'readers',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      { file: GET, find: '    resolve(slot) {', replace: `    resolve(slot) {\n        return ${ANSWER_READ}` },
    ],
  },
  {
    name: 'RESOLVE is answered before a quorum holds what was read',
    bias: 'readers',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: 'src/coordinated/resolve-server.js',
        find: 'const operationId = this.#coordinator.startGet(',
        replace:
          'this.#reply(session, place.slot, place.generation, 0, { ...NONE, counter: 2 ** 53 - 1 });\n        const operationId = this.#coordinator.startGet(',
      },
    ],
  },
  {
    name: 'a reader takes any stamp that a replica has made sure of for its own',
    bias: 'readers',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: GET, find: 'if (order < 0)\n            return this.read(slot);', replace: '' }],
  },
  {
    name: 'a quorum of one',
    bias: 'none',
    failure: either(NOT_LINEARIZABLE, NOT_ONE_DECISION),
    substitutions: [{ file: COORDINATOR, find: 'quorumOf(options.memberCount);', replace: '1;' }],
  },
  {
    name: 'the stamp of one replica is enough',
    bias: 'late answers',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: PUT,
        find: 'if (memberCountOf(table.replied[slot] & ~table.refused[slot]) < this.#quorum)',
        replace: 'if (memberCountOf(table.replied[slot] & ~table.refused[slot]) < 1)',
      },
    ],
  },
  {
    name: 'one acknowledgement of a write is enough',
    bias: 'half writes',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      { file: PUT, find: 'if (memberCountOf(table.holders[slot]) >= this.#quorum)', replace: 'if (true)' },
      {
        file: GET,
        find: 'if (this.#isHeldByQuorum(slot))\n            this.#answer(slot);',
        replace: 'this.#answer(slot);',
      },
    ],
  },
  {
    name: 'duplicate answers of a member are counted',
    bias: 'late answers',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: COORDINATOR,
        find: '(hasMember(table.replied[slot], member) && type !== MESSAGE_READ_PART_REPLY) ||',
        replace: '',
      },
      {
        file: COORDINATOR,
        find: 'table.replied[slot] |= 1 << member;\n        if (type === MESSAGE_READ_REPLY)',
        replace: 'table.replied[slot] = (table.replied[slot] << 1) | 1;\n        if (type === MESSAGE_READ_REPLY)',
      },
      {
        file: PUT,
        find: 'table.holders[slot] |= 1 << member;',
        replace: 'table.holders[slot] = (table.holders[slot] << 1) | 1;',
      },
      {
        file: GET,
        find: 'table.holders[slot] |= 1 << member;\n        if (this.#isHeldByQuorum(slot))\n            this.#answer(slot);',
        replace:
          'table.holders[slot] = (table.holders[slot] << 1) | 1;\n        if (this.#isHeldByQuorum(slot))\n            this.#answer(slot);',
      },
    ],
  },
  {
    name: 'own counter is not kept',
    bias: 'none',
    failure: /a stamp names two values/,
    substitutions: [
      {
        file: PUT,
        find: 'this.#ownCounter = Math.max(table.counter[slot], this.#ownCounter) + 1;',
        replace: 'this.#ownCounter = table.counter[slot] + 1;',
      },
    ],
  },
  {
    name: 'a retransmission restarts a put under a new stamp',
    bias: 'half writes',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: COORDINATOR,
        find: 'this.#rounds.askAgain(slot);',
        replace:
          'if (phase === PHASE_WRITE)\n            return this.#puts.stamp(slot);\n        this.#rounds.askAgain(slot);',
      },
    ],
  },
  {
    name: 'a nonce is used twice',
    bias: 'none',
    failure: /nonce is used twice/,
    substitutions: [
      {
        file: 'workers/value-keys.js',
        find: 'this.#last += count;',
        replace: 'this.#last += count * (this.#last % 2);',
      },
      {
        file: 'workers/value-cipher.js',
        find: "assert(nonce > this.#lastNonce, 'no nonce is used twice');",
        replace: '',
      },
    ],
  },
  {
    name: 'apply on an equal or lower stamp',
    bias: 'late answers',
    failure: either(NOT_LINEARIZABLE, OLDER_THAN_SLOT),
    substitutions: [
      {
        file: 'src/protocol/write-acceptor.js',
        find: 'if (order > 0)\n            return 0;\n        if (order === 0) {',
        replace: 'if (false) {',
      },
      {
        file: STORE,
        find: "assert(this.compareStamp(entry, counter, writerHigh, writerLow, rmw) < 0, 'only a greater stamp is written');",
        replace: '',
      },
    ],
  },
  {
    name: 'a restarted replica votes',
    bias: 'restarts',
    failure: either(NOT_LINEARIZABLE, NOT_ONE_DECISION),
    substitutions: [
      {
        file: 'src/server/replica-node.js',
        find: 'toHex(options.randomBytes(INCARNATION_BYTES))',
        replace: 'toHex(new Uint8Array(INCARNATION_BYTES).fill(memberIndex + 1))',
      },
    ],
  },
  {
    name: 'answers of another cluster instance are counted',
    bias: 'formation',
    failure: /a client of the old instance reads from the new one/,
    substitutions: [
      {
        file: 'src/client/cluster-view.js',
        find: 'this.#instanceIds[member] === this.#pinned',
        replace: 'true',
      },
    ],
  },
  {
    name: "a corrupt copy's value is trusted",
    bias: 'tampering',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: GET, find: 'if (!opened) {', replace: 'if (false) {' }],
  },
  {
    name: "a corrupt copy's stamp is ignored",
    bias: 'tampering',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: GET,
        find: 'table.bad[slot] |= 1 << table.valueMember[slot];',
        replace:
          'table.lacking[slot] |= 1 << table.valueMember[slot];\n            table.counter[slot] = table.holders[slot] = 0;',
      },
      {
        file: GET,
        find: 'if (order > 0)\n            return this.read(slot);',
        replace: 'if (order > 0) {\n            this.#raise(slot, words, word);\n            order = 0;\n        }',
      },
    ],
  },
  {
    name: 'answers of an earlier phase are counted',
    bias: 'late answers',
    failure: MIXED_UP,
    substitutions: [
      { file: COORDINATOR, find: 'table.generation[slot] !== incoming.region.words[word + 1] ||', replace: '' },
    ],
  },
  {
    name: 'a write that was sent is said to have had no effect',
    bias: 'none',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: COORDINATOR, find: "? 'outcome-unknown' : reason", replace: '? reason : reason' }],
  },
  // -- values by parts --
  {
    name: 'a partial value is committed',
    bias: 'large values',
    // Or nobody can get it: the rest never comes.
    failure: either(MIXED_UP, /in calm a get of .* ends as deadline/),
    substitutions: [
      {
        file: REASSEMBLIES,
        find: 'return this.arrivedCount === this.partCount;',
        replace: 'return this.keyBytes > 0 && this.arrivedCount >= Math.min(3, this.partCount);',
      },
    ],
  },
  {
    name: 'parts of different writes are mixed: the peer is taken for enough',
    bias: 'large values',
    failure: MIXED_UP,
    substitutions: [
      {
        file: REASSEMBLIES,
        find: 'if (isNamed(one, peer.key, words, word + WORD_WRITE_COUNTER, word + WORD_WRITE_TAG) &&',
        replace: 'if (one.peerKey === peer.key && !one.isDone &&',
      },
    ],
  },
  {
    name: 'a part is read whatever the stamp',
    bias: 'large values',
    failure: MIXED_UP,
    substitutions: [
      {
        file: 'src/protocol/read-answers.js',
        find: 'words[word + WORD_READ_PART_RMW]) === 0 &&',
        replace: 'words[word + WORD_READ_PART_RMW]) < 9 &&',
      },
    ],
  },
  {
    name: 'a READ grants again what one of the same phase has granted',
    bias: 'get-granted.trace',
    // Put together of two values, it does not open.
    failure: /1 of 4: 40 B repair/,
    substitutions: [
      {
        file: 'src/protocol/pull-flow.js',
        find: 'return this.#requests.read(session, slot, true);',
        replace:
          'return this.#requests.read(session, slot, true, this.#lastBytes && grantOf(2, 80)) && ((table.grantMember[slot] = member), true);',
      },
    ],
  },
  {
    name: 'what a member forgot counts as arrived',
    bias: 'large values',
    failure: /in calm a put .* ends as (outcome-unknown|deadline)/,
    substitutions: [
      {
        file: 'src/protocol/part-transfer.js',
        find: 'this.#counters.partsRepeated += tracker.onForgotten(words, word + WORD_PROGRESS_BITMAP, wordCount);',
        replace: '',
      },
    ],
  },
  {
    name: 'credit is ignored',
    bias: 'large values',
    failure: /honest senders overrun a receive buffer/,
    substitutions: [
      {
        file: 'net/flight.js',
        find: 'const roomBytes = limitBytes - this.inFlightBytes - DATAGRAM_RECORD_BYTES;',
        replace: 'const roomBytes = Number.MAX_SAFE_INTEGER;',
      },
    ],
  },
  {
    name: 'a get by parts is answered without opening',
    bias: 'large values',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: GET, find: '(slot) => this.#open(slot));', replace: "(slot) => this.#end(slot, 'ok'));" }],
  },
  // -- calls --
  {
    name: 'a retransmitted put is executed twice by the coordinated route',
    bias: 'calls',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: CALL_TABLE,
        find: "return state === SLOT_RUNNING ? 'running' : 'finished';",
        replace: "return 'new';",
      },
    ],
  },
  {
    name: "a call's outcome is taken for that of the next call in its slot",
    bias: 'calls',
    failure: either(NOT_LINEARIZABLE, ONE_VERSION_TWICE),
    substitutions: [{ file: CALL_CLIENT, find: 'calls.generation[slot] === words[word + 1] &&', replace: '' }],
  },
  {
    name: 'a write that was called is called at another replica, too',
    bias: 'calls',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: CALL_ATTEMPTS,
        find: 'if (isGet && this.#askAnother(slot))',
        replace: 'if (this.#askAnother(slot))',
      },
      { file: CALL_SLOTS, find: 'if (!isReadOnly(this.kind[slot])) {', replace: 'if (false) {' },
    ],
  },
  {
    name: 'a call that was sent is said to have had no effect',
    bias: 'calls',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: CALL_CLIENT, find: "? 'outcome-unknown' : reason", replace: '? reason : reason' }],
  },
  // -- calls by parts --
  {
    name: 'a call is begun before all of its parts have come',
    bias: 'large calls',
    // Or what is begun is no call.
    failure: either(MIXED_UP, /in calm a put .* ends as (outcome-unknown|deadline)/),
    substitutions: [
      {
        file: 'src/coordinated/call-parts-assembly.js',
        find: 'if (assembly.arrivedCount < assembly.partCount)',
        replace: 'if (assembly.arrivedCount < Math.min(3, assembly.partCount))',
      },
    ],
  },
  {
    name: 'a call of which all parts were sent is sent to another replica when no word of them comes',
    bias: 'large calls',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: CALL_ATTEMPTS,
        find: 'const mayMove = isSilent && !this.#calls.isSent(slot);',
        replace: 'const mayMove = isSilent;',
      },
      // So that it comes within the deadlines of these runs.
      { file: CALL_ATTEMPTS, find: 'const SILENT_ATTEMPTS = 5;', replace: 'const SILENT_ATTEMPTS = 1;' },
    ],
  },
  ...scanMutants,
];
