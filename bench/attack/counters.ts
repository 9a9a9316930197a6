import { randomBytes } from 'node:crypto';
import { stampOf } from '../../src/client/version.ts';
import { COUNTER_STEP_MAX } from '../../src/protocol/counter-guard.ts';
import { FLAG_WRITE_BACK } from '../../src/protocol/messages.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import type { Attack, Moved } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { Insider } from './insider.ts';
import { sendAccept, sendCommit, sendWrite } from './insider-messages.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';

/** A client that wants nobody to write any more: who can name the last counter leaves none behind it. */
const STEPS = 200;
/** A quorum needs a few round trips for it. */
const PUT_DEADLINE_MS = 10_000;

export const poisonedCounter: Attack = {
  name: 'poisoned-counter',
  deed: 'a client writes with the last counter of stamps there is, by each message that has one, and by steps towards it',
  power: 'insider',
  whyNot: () => undefined,
  async run(scene) {
    const key = scene.key('poisoned');
    const value = randomBytes(VALUE_BYTES);
    const members = [...scene.hosts.keys()];
    const before: number[] = [];
    for (const member of members) before.push(await scene.dropsOf(member, 'counter-too-far'));
    const insider = await Insider.open(scene);
    try {
      for (const member of members) poison(insider, member, key);
      for (const member of members) await scene.settled(member);
      await scene.client.put(key, value, { deadlineMs: PUT_DEADLINE_MS });
      let harm = (await scene.wrongValueOf(key, value)) ?? (await lostCounters(scene, key));
      const moved: Moved[] = [];
      for (const member of members) {
        let after = 0;
        const isNoticed = await scene.until(async () => {
          after = await scene.dropsOf(member, 'counter-too-far');
          return after > before[member]!;
        });
        if (!isNoticed) harm ??= UNNOTICED;
        moved.push(dropsMoved(member, 'counter-too-far', before[member]!, after));
      }
      return { harm, moved };
    } finally {
      await insider.close();
    }
  },
};

/** The key is written from here on, so what was taken of it shows in the next counter. */
async function lostCounters(scene: Scene, key: string): Promise<string | undefined> {
  const { counter } = stampOf((await scene.client.getWithVersion(key)).version);
  const uptimes = await Promise.all([...scene.hosts.keys()].map((member) => scene.statusOf(member)));
  const seconds = Math.max(...uptimes.map(({ uptimeMs = 0 }) => uptimeMs)) / 1_000;
  const bound = COUNTER_STEP_MAX * (2 + seconds);
  return counter <= bound ? undefined : `the counter is ${counter}, after ${Math.round(seconds)} s: it will be used up`;
}

function poison(insider: Insider, member: number, key: string): void {
  const counters = [
    STAMP_COUNTER_MAX,
    ...Array.from({ length: STEPS }, (_, step) => Math.min((step + 2) * COUNTER_STEP_MAX, STAMP_COUNTER_MAX)),
  ];
  for (const counter of counters) {
    sendWrite(insider, member, key, counter, 0, insider);
    sendWrite(insider, member, key, counter, FLAG_WRITE_BACK, insider);
  }
  sendAccept(insider, member, key, STAMP_COUNTER_MAX, insider);
  sendCommit(insider, member, key, STAMP_COUNTER_MAX, insider);
}
