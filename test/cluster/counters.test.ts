/** Clients with valid keys that would use the counters of stamps up, and mutants that let them, or lock others out. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { withMutatedCopy } from '../tooling/mutated-copy.ts';
import { ballotsGoUpAtOne, greatestIsSent, memberWasAway, nobodyCanTell } from './counter-scenarios.ts';

const SEEDS = [1, 2, 3];

for (const [what, scenario] of [
  ['no client brings counters above what time allows, and what it writes can be written', greatestIsSent],
  ['a member that stood still while counters went up takes writes again as soon as it is needed', memberWasAway],
  ['what only a member that is gone knew of counters keeps nobody from writing', nobodyCanTell],
  ['ballots that went up at one member keep nobody from read-modify-writes of other keys', ballotsGoUpAtOne],
] as const) {
  test(what, () => {
    for (const seed of SEEDS) assert.equal(scenario(seed), undefined, `seed ${seed}`);
  });
}

const PARTS = ['net', 'workers', 'src', 'bench/checker', 'test/cluster', 'test/workers'];
const GUARD = 'src/protocol/counter-guard.js';
const ACCEPTOR = 'src/protocol/rmw-acceptor.js';

for (const { name, failure, substitutions } of [
  {
    name: 'a stamp of any counter is taken',
    failure: /a put of hostile-greatest ends as stamps-exhausted/,
    substitutions: [{ file: GUARD, find: 'if (counter > this.#ceiling)', replace: 'if (false)' }],
  },
  {
    name: 'the ceiling rises whenever something is written',
    failure: /took counter \d+ for .*, above|ends as stamps-exhausted/,
    substitutions: [{ file: GUARD, find: 'Math.min(target, risen, STAMP_COUNTER_MAX)', replace: 'target' }],
  },
  {
    name: 'a ballot of any number is taken',
    failure: /an increment of hostile-greatest ends as stamps-exhausted/,
    substitutions: [
      {
        file: ACCEPTOR,
        find: 'if (!this.#guard.takes(readU53(words, word + WORD_PREPARE_BALLOT)))\n            return;',
        replace: '',
      },
    ],
  },
  {
    name: 'replicas do not believe each other about counters',
    failure: /a put that needs the member that was away ends as/,
    substitutions: [
      { file: GUARD, find: 'this.#ceiling = Math.max(this.#ceiling, ceilingOf(words, word));', replace: '' },
    ],
  },
  {
    name: 'a replica that refuses a counter waits to be told',
    failure: /a put after it ends as/,
    substitutions: [{ file: GUARD, find: 'this.#wanted = Math.max(this.#wanted, counter);', replace: '' }],
  },
]) {
  test(`mutant caught: ${name}`, async (context) => {
    const said = await withMutatedCopy(PARTS, substitutions, async (distDir) => {
      const program = join(distDir, 'test/cluster/run-counter-scenarios.js');
      const { stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 60_000 });
      return stdout.trim();
    });
    assert.match(said, failure);
    context.diagnostic(said);
  });
}
