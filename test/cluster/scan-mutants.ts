/** Rules of scans left out on purpose: see mutants.ts; four more are in scans.test.ts. */
import type { Mutant } from './mutants.ts';

const MERGE = 'src/protocol/scan-merge.js';
const FLOW = 'src/protocol/scan-flow.js';
const NOT_LINEARIZABLE = /no order of its operations fits|was read and never written/;

export const scanMutants: readonly Mutant[] = [
  {
    name: 'an answer that was cut short counts as whole',
    bias: 'scans',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: MERGE, find: 'if (!answer.hasMore)\n                continue;', replace: 'continue;' }],
  },
  {
    name: 'stamps of a scan are not compared at all',
    bias: 'scans',
    failure: NOT_LINEARIZABLE,
    substitutions: [{ file: MERGE, find: '!isSameStamp(holder, answer)', replace: 'false' }],
  },
  {
    name: 'the answer of one member is enough for a scan',
    bias: 'scans',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      { file: FLOW, find: 'if (scan.answers.length < this.#parts.quorum)', replace: 'if (scan.answers.length < 1)' },
    ],
  },
  {
    name: 'what a scan finds in part is taken for what a quorum holds',
    bias: 'scans',
    failure: NOT_LINEARIZABLE,
    substitutions: [
      {
        file: MERGE,
        find: "return 'needs-get';",
        replace: "return entryHas(holder.region.words, holder.word, ENTRY_TOMBSTONE) ? 'absent' : 'present';",
      },
    ],
  },
];
