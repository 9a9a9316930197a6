import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DropReason } from '../../net/drops.ts';
import { stampOf } from '../../src/client/version.ts';
import { AvocadoError } from '../../src/errors.ts';
import { FLAG_WRITE_BACK } from '../../src/protocol/messages.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { CLUSTER_KEY_FILE } from '../../src/trust/cluster-files.ts';
import { openAttackClient } from './attack-client.ts';
import type { Attack, Moved } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { Insider } from './insider.ts';
import { sendAccept, sendCommit, sendWrite } from './insider-messages.ts';
import type { Writer } from './insider-messages.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';

/** Clients that do more than they may: with keys that are others', and in the name of others. */

/** So far above the stamp that was read: what is taken counts as newer. */
const COUNTER_AHEAD = 1_000;
const DEADLINE_MS = 5_000;

export const prefixOverstepped: Attack = {
  name: 'prefix-overstepped',
  deed: 'a client whose certificate is for one prefix reads, writes and deletes a key outside of it, in both routes',
  power: 'insider',
  whyNot: ({ directory }) => {
    const isThere = [OPERATOR_FILE, CLUSTER_KEY_FILE].some((name) => existsSync(join(directory, name)));
    return isThere
      ? undefined
      : "neither an operator's key nor the cluster key is here to make a client with few rights";
  },
  run: (scene) =>
    watched(scene, 'not-permitted', async (key) => {
      // Loaded when it is run: it brings the chain's messages.
      const { limitedAuthority } = await import('./limited-client.ts');
      const limited = await limitedAuthority(scene, `rw:${scene.key('own ')}`);
      const { counter } = stampOf((await scene.client.getWithVersion(key)).version);
      const insider = await Insider.open(scene, limited);
      try {
        for (const member of scene.hosts.keys()) writeAll(insider, member, key, counter + COUNTER_AHEAD, insider);
        for (const member of scene.hosts.keys()) await scene.settled(member);
      } finally {
        await insider.close();
      }
      return (await gainOf(limited, 'direct', key)) ?? gainOf(limited, 'coordinated', key);
    }),
};

export const anothersWriterId: Attack = {
  name: 'anothers-writer-id',
  deed: "a client writes in another's name: fresh, as that one's next write, and by read-modify-writes under its ballots",
  power: 'insider',
  whyNot: () => undefined,
  run: (scene) =>
    watched(scene, 'wrong-writer', async (key) => {
      const { counter, writerHigh, writerLow } = stampOf((await scene.client.getWithVersion(key)).version);
      const insider = await Insider.open(scene);
      try {
        for (const member of scene.hosts.keys()) {
          sendWrite(insider, member, key, counter + COUNTER_AHEAD, 0, { writerHigh, writerLow });
          sendAccept(insider, member, key, counter + COUNTER_AHEAD, { writerHigh, writerLow });
        }
        for (const member of scene.hosts.keys()) await scene.settled(member);
      } finally {
        await insider.close();
      }
      return undefined;
    }),
};

/** @param attempt Returns what the attacker got; that the honest client's value is gone is found here. */
async function watched(
  scene: Scene,
  reason: DropReason,
  attempt: (key: string) => Promise<string | undefined>,
): ReturnType<Attack['run']> {
  const key = scene.key(`not yours ${reason}`);
  const value = randomBytes(VALUE_BYTES);
  await scene.client.put(key, value);
  const before: number[] = [];
  for (const member of scene.hosts.keys()) before.push(await scene.dropsOf(member, reason));
  let harm = await attempt(key);
  harm = (await scene.wrongValueOf(key, value)) ?? harm;
  const moved: Moved[] = [];
  for (const member of scene.hosts.keys()) {
    const after = await scene.dropsOf(member, reason);
    if (after === before[member]) harm ??= UNNOTICED;
    moved.push(dropsMoved(member, reason, before[member]!, after));
  }
  return { harm, moved };
}

/** What the attacker gets with the library's client. */
async function gainOf(authority: Authority, route: 'direct' | 'coordinated', key: string): Promise<string | undefined> {
  const { client } = await openAttackClient(authority, { route });
  const options = { deadlineMs: DEADLINE_MS };
  try {
    for (const [what, attempt] of [
      ['read the value', () => client.get(key, options)],
      ['counted the keys', () => (route === 'direct' ? client.count(options) : client.get(key, options))],
      ['changed it by a read-modify-write', () => client.getAndSet(key, 'x', options)],
      ['wrote it', () => client.put(key, 'x', options)],
      ['deleted it', () => client.delete(key, options)],
    ] as const) {
      try {
        await attempt();
        return `it ${what}, by the ${route} route`;
      } catch (error) {
        if (!(error instanceof AvocadoError) || error.code !== 'NOT_PERMITTED') throw error;
      }
    }
    return undefined;
  } finally {
    await client.close();
  }
}

/** By each message that brings a stamp. A client without manners does not ask with STAMP whether it may. */
function writeAll(insider: Insider, member: number, key: string, counter: number, writer: Writer): void {
  sendWrite(insider, member, key, counter, 0, writer);
  sendWrite(insider, member, key, counter + 1, FLAG_WRITE_BACK, writer);
  sendAccept(insider, member, key, counter + 2, writer);
  sendCommit(insider, member, key, counter + 3, writer);
}
