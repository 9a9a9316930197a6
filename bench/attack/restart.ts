import { randomBytes } from 'node:crypto';
import { assert } from '../../net/assert.ts';
import { AvocadoError } from '../../src/errors.ts';
import { ReplicaProcess } from '../../src/server/replica-process.ts';
import type { Attack } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import type { Scene } from './scene.ts';
import { lost, unchanged } from './hostile-proxy.ts';
import type { HostileProxy } from './hostile-proxy.ts';
import { valuePartOf, withVictim } from './victim.ts';

/**
 * A host that wants an acknowledged value forgotten. A quorum holds it; one of that quorum is killed and started again
 * empty, the others of it are cut off. Who counts the empty one has a quorum of replicas that never heard of the value.
 */
const RESTARTED = 0;
/** Far more than a get takes from a quorum that answers. */
const READ_DEADLINE_MS = 1_000;
const STATUS_TIMEOUT_MS = 500;

export const emptyReplica: Attack = {
  name: 'empty-replica',
  deed: `the host kills replica ${RESTARTED}, starts it empty, and cuts off the others that hold a value: will it vote?`,
  power: 'host',
  whyNot(scene) {
    if (scene.memberCount < 3) return 'a cluster of one has no quorum without it';
    if (!scene.isOwn && !scene.mayRestart) {
      return 'the replica stays outside for good: give --allow-restart to do that to a cluster that runs';
    }
    if (scene.processIdOf(RESTARTED) === undefined) {
      return `replica ${RESTARTED} is no process of this host that this user can see`;
    }
    return undefined;
  },
  run: (scene) =>
    withVictim(scene, async ({ client, engine, proxies }) => {
      const key = scene.key('forgotten');
      const value = randomBytes(VALUE_BYTES);
      // All but a quorum miss the put.
      for (const proxy of proxies.slice(scene.quorum)) proxy.toReplica = withoutValues;
      await client.put(key, value);
      const before = await scene.statusOf(RESTARTED);
      const restarted = await restartEmpty(scene);
      const isReachable = async (): Promise<boolean> => (await engine.status(STATUS_TIMEOUT_MS))[RESTARTED]!.reachable;
      // Its session must be with the new process, or the client has nobody to count.
      const isBack = await scene.until(async () => restarted.refusal !== undefined || (await isReachable()));
      let after: { readonly state: string; readonly keys?: number } = { state: 'refused by CAS' };
      if (restarted.refusal === undefined) {
        await scene.until(async () => {
          after = await scene.statusOf(RESTARTED);
          return after.state !== 'forming';
        });
      }
      const holders = proxies.slice(RESTARTED + 1, scene.quorum);
      setAll(holders, lost);
      const outcome = await readOutcome(() => client.get(key, { deadlineMs: READ_DEADLINE_MS }), value);
      setAll(proxies, unchanged);
      const wrongLater = await scene.wrongValueOf(key, value);
      return {
        harm: outcome.harm ?? wrongLater ?? (isBack ? undefined : UNNOTICED),
        moved: [
          { where: `replica ${RESTARTED}`, what: 'state', before: before.state, after: after.state },
          { where: `replica ${RESTARTED}`, what: 'keys', before: before.keys ?? 0, after: after.keys ?? 0 },
          { where: 'client', what: 'get with the holders cut off', before: 'the value', after: outcome.said },
        ],
      };
    }),
};

function withoutValues(datagram: Uint8Array): readonly Uint8Array[] {
  return valuePartOf(datagram, VALUE_BYTES) === undefined ? [datagram] : [];
}

/**
 * The new one is this process's child, and ends with the attacks. The old one is gone when this returns: whoever answers
 * later is the new one.
 */
async function restartEmpty(scene: Scene): Promise<{ readonly refusal: string | undefined }> {
  const processId = scene.processIdOf(RESTARTED);
  assert(processId !== undefined, 'its process was seen before the attack');
  process.kill(processId, 'SIGKILL');
  await scene.until(() => scene.processIdOf(RESTARTED) === undefined);
  const replica = new ReplicaProcess(
    {
      clusterDirectory: scene.directory,
      index: RESTARTED,
      allowPlaintext: scene.mode === 'plaintext',
      removeDirectoryWhenOrphaned: false,
    },
    () => {},
    () => {},
  );
  scene.onClose(() => replica.stop());
  const restarted: { refusal: string | undefined } = { refusal: undefined };
  replica.active(scene.signal).catch((error: unknown) => {
    if (error instanceof AvocadoError && error.code === 'ADMISSION_REFUSED') restarted.refusal = error.message;
  });
  return restarted;
}

async function readOutcome(
  get: () => Promise<Buffer | undefined>,
  value: Buffer,
): Promise<{ said: string; harm?: string }> {
  try {
    const got = await get();
    if (got?.equals(value) === true) return { said: 'the value' };
    const said = got === undefined ? 'no value' : 'another value';
    return { said, harm: `the empty replica voted: a get says ${said} where one was acknowledged` };
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return { said: error.code };
  }
}

function setAll(proxies: readonly HostileProxy[], passage: HostileProxy['toReplica']): void {
  for (const proxy of proxies) proxy.toReplica = passage;
}
