import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Attack } from '../../bench/attack/attack.ts';
import { VALUE_BYTES } from '../../bench/attack/attack.ts';
import { ATTACKS, CHAIN_ATTACKS } from '../../bench/attack/attacks.ts';
import { whyNoAccess } from '../../bench/attack/process-memory.ts';
import type { AttackResult } from '../../bench/attack/run.ts';
import { valuePartOf, withVictim } from '../../bench/attack/victim.ts';
import { KIND_REQUEST, OFFSET_KIND } from '../../net/wire.ts';
import { AvocadoError } from '../../src/errors.ts';
import { attackOwnCluster } from './own-cluster.ts';

/** What moved, without the figures. */
function movedBy(results: readonly AttackResult[], name: string): string[] {
  return results.find((result) => result.name === name)!.moved.map(({ where, what }) => `${where} ${what}`);
}

/** Made up, to see how they are judged. The last one spoils the canaries. */
const harmless = { deed: 'made up', power: 'network', whyNot: () => undefined } as const;
const MADE_UP: readonly Attack[] = [
  { ...harmless, name: 'nothing', run: () => Promise.resolve({ moved: [] }) },
  { ...harmless, name: 'breaker', run: () => Promise.reject(new AvocadoError('NO_QUORUM', 'nobody answers')) },
  { ...harmless, name: 'impossible', whyNot: () => 'no way', run: () => assert.fail('it is not to be tried') },
  {
    ...harmless,
    name: 'deleter',
    run: async (scene) => {
      await scene.client.delete(scene.key('canary 3'));
      return { moved: [] };
    },
  },
];
/** A client is connected when a quorum is; attacks on the third replica are none until that one is met, too. */
const LATECOMER: Attack = {
  ...harmless,
  name: 'latecomer',
  run: (scene) =>
    withVictim(
      scene,
      async ({ client, proxies }) => {
        let passed = 0;
        proxies[2]!.toReplica = (datagram) => {
          if (valuePartOf(datagram, VALUE_BYTES) !== undefined) passed++;
          return [datagram];
        };
        await client.put(scene.key('late'), Buffer.alloc(VALUE_BYTES));
        await scene.until(() => passed > 0, 1_000);
        return { harm: passed > 0 ? undefined : 'replica 2 took no part', moved: [] };
      },
      (proxy, member) => {
        let attempts = 0;
        // The third one is sent 750 ms after the first.
        if (member === 2) proxy.toReplica = (datagram) => (isRequest(datagram) && ++attempts < 3 ? [] : [datagram]);
      },
    ),
};

function isRequest(datagram: Uint8Array): boolean {
  return datagram[OFFSET_KIND] === KIND_REQUEST;
}

/** Two of them bring a CAS of their own. */
const NEEDS_CAS = CHAIN_ATTACKS.map(({ name }) => name).filter(
  (name) => name !== 'old-cas-state' && name !== 'revoked-las',
);

const JUDGED = [
  ['nothing', 'caught', undefined, 8],
  ['breaker', 'succeeded', 'operations of honest clients fail: NO_QUORUM, nobody answers', 8],
  ['impossible', 'not tried', 'no way', 0],
  ['deleter', 'succeeded', 'keys that it did not touch are wrong now: a get finds no value any more', 7],
];

const OF_EACH_REPLICA = (what: string): string[] => [0, 1, 2].map((member) => `replica ${member} ${what}`);

/** Every attack, for real, on a cluster that defends itself; mutants.test.ts has those that don't. */
suite('attacks are caught', { concurrency: 2 }, () => {
  for (const [mode, keysFrom] of [
    ['secure', 'cas'],
    ['authenticated', 'files'],
  ] as const) {
    test(`in mode ${mode}, keys from ${keysFrom}, each by a counter that moves, and what is not caught is said to have succeeded`, async (context) => {
      const [late, ...all] = await attackOwnCluster(
        mode,
        [LATECOMER, ...ATTACKS, ...MADE_UP],
        context.signal,
        keysFrom,
      );
      assert.equal(late!.verdict, 'caught', late!.reason);
      const results = all.slice(0, ATTACKS.length);
      const memoryIsOpen = whyNoAccess(process.pid) === undefined;
      for (const { name, verdict, reason, moved, canaries, power } of results) {
        if (keysFrom === 'files' && NEEDS_CAS.includes(name)) {
          assert.match(reason ?? '', /this cluster has no CAS/);
          continue;
        }
        if (power === 'host memory' ? !memoryIsOpen : power === 'host' && process.platform !== 'linux') {
          assert.equal(verdict, 'not tried', name);
          continue;
        }
        assert.equal(verdict, 'caught', `${name}: ${reason}`);
        assert.deepEqual(canaries, { read: 8, right: 8 }, name);
        for (const { where, what, before, after } of moved) {
          assert.notEqual(after, before, `${name}: ${where}, ${what}`);
        }
      }
      assert.equal(results.find(({ name }) => name === 'old-cas-state')!.moved[1]!.after, 'unconfirmed');
      assert.deepEqual(movedBy(results, 'replay-datagrams'), OF_EACH_REPLICA('dropped replayed'));
      assert.deepEqual(movedBy(results, 'forge-datagrams'), OF_EACH_REPLICA('dropped forged'));
      assert.deepEqual(movedBy(results, 'foreign-key').slice(1), OF_EACH_REPLICA('dropped certificate-refused'));
      assert.deepEqual(movedBy(results, 'poisoned-counter'), OF_EACH_REPLICA('dropped counter-too-far'));
      assert.deepEqual(movedBy(results, 'prefix-overstepped'), OF_EACH_REPLICA('dropped not-permitted'));
      assert.deepEqual(movedBy(results, 'anothers-writer-id'), OF_EACH_REPLICA('dropped wrong-writer'));
      assert.deepEqual(movedBy(results, 'plaintext-client').slice(1), OF_EACH_REPLICA('dropped wrong-mode'));
      const restarted = results.find(({ name }) => name === 'empty-replica')!;
      if (restarted.verdict === 'caught') {
        const after = keysFrom === 'cas' ? 'refused by CAS' : 'outside';
        assert.deepEqual(restarted.moved[0], { where: 'replica 0', what: 'state', before: 'active', after });
      }
      const judged = all
        .slice(ATTACKS.length)
        .map((made) => [made.name, made.verdict, made.reason, made.canaries.right]);
      assert.deepEqual(judged, JUDGED);
    });
  }
});
