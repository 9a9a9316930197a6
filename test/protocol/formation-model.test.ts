/** All that can happen to three replicas that form a cluster while one crashes (formation-model.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormationModel } from './formation-model.ts';
import type { Substitution } from './formation-source.ts';
import { openedFormation } from './formation-source.ts';

const CRASH_COUNT_MAX = 1;
/** Far more than there are. */
const WORLD_COUNT_MAX = 400_000;

function explored(substitutions: readonly Substitution[] = []) {
  return new FormationModel(openedFormation(substitutions), CRASH_COUNT_MAX, WORLD_COUNT_MAX).explore();
}

test('should keep every member of an active instance, and always find a way to a quorum, when one crashes', (context) => {
  const { failure, isComplete, worldCount } = explored();
  assert.equal(failure, undefined);
  assert.ok(isComplete);
  assert.ok(worldCount > 10_000, `only ${worldCount} worlds`);
  context.diagnostic(`${worldCount} worlds`);
});

const LOST = /an active instance lost \d without a crash/;
const STUCK = /no quorum of active members can be reached/;

const mutants: readonly { name: string; failure: RegExp; substitutions: readonly Substitution[] }[] = [
  {
    name: 'whoever sees that a member is gone goes on as someone else at once',
    failure: LOST,
    substitutions: [
      { file: 'vote', find: 'if (!this.isWithdrawn)\n            return false;', replace: 'return this.isWithdrawn;' },
    ],
  },
  {
    name: 'a member that has withdrawn becomes active by votes',
    failure: LOST,
    substitutions: [
      {
        file: 'formation',
        find: "if (this.#state !== 'voted')\n            return;",
        replace: "if (this.#state === 'forming')\n            return;",
      },
    ],
  },
  {
    name: 'late words of an incarnation that is gone are believed',
    failure: LOST,
    substitutions: [
      { file: 'formation', find: 'if (this.#gone.has(message.incarnation))\n            return;', replace: '' },
    ],
  },
  {
    name: 'whoever has withdrawn stays so',
    failure: STUCK,
    substitutions: [
      { file: 'vote', find: 'if (!this.isWithdrawn)\n            return false;', replace: 'return false;' },
    ],
  },
  {
    name: 'a member that never voted leaves those that did waiting',
    failure: STUCK,
    substitutions: [
      {
        file: 'formation',
        find: "else if (state === 'withdrawn' && this.#vote === undefined)\n            this.#beginAnew();",
        replace: '',
      },
    ],
  },
];

for (const { name, failure, substitutions } of mutants) {
  test(`mutant caught: ${name}`, () => {
    const found = explored(substitutions).failure;
    assert.ok(found !== undefined, 'nothing wrong was seen');
    assert.match(found, failure);
  });
}
