import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { assert } from '../../net/assert.ts';
import { AvocadoError } from '../../src/errors.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import type { Attack, Finding } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { ProcessMemory, whyNoAccess } from './process-memory.ts';
import type { Scene } from './scene.ts';
import { valuePartOf, withVictim } from './victim.ts';
import type { Victim } from './victim.ts';

/**
 * A host that changes what it keeps for a replica. It sees a sealed value pass on the network, stops the replica, finds
 * the value in its memory, writes there, and lets it go on. Then the honest client reads until somebody notices.
 */

/** One replica of several: the others have a good copy. */
const MEMBER = 1;
/** Behind the envelope's header: the ciphertext is hit, not the name of its key. */
const FLIPPED_OFFSET = ENVELOPE_HEADER_BYTES + 64;
/** The replica is asked for its copy by turns; a busy one may be passed over for a while. */
const READS_A_ROUND = 20;
/** Under load a datagram is lost now and then. */
const ATTEMPTS_MAX = 5;

export const flipValue: Attack = {
  name: 'flip-value',
  deed: `the host flips one bit of a value in replica ${MEMBER}'s memory`,
  power: 'host memory',
  whyNot,
  run: (scene) =>
    attackMemory(scene, async (plant) => {
      const guarded = await plant('flip');
      return {
        spoilt: [guarded],
        spoil: (memory, [places]) => {
          for (const place of places!) memory.flipBit(place + FLIPPED_OFFSET, 0);
        },
      };
    }),
};

export const swapValues: Attack = {
  name: 'swap-values',
  deed: `the host exchanges the values of two keys in replica ${MEMBER}'s memory`,
  power: 'host memory',
  whyNot,
  run: (scene) =>
    attackMemory(scene, async (plant) => {
      const one = await plant('swap, one');
      const other = await plant('swap, other');
      return {
        spoilt: [one, other],
        spoil: (memory, [placesOfOne, placesOfOther]) => {
          for (const place of placesOfOne!) memory.write(place, other.envelope);
          for (const place of placesOfOther!) memory.write(place, one.envelope);
        },
      };
    }),
};

export const oldValue: Attack = {
  name: 'old-value',
  deed: `the host puts a key's former value back into replica ${MEMBER}'s memory`,
  power: 'host memory',
  whyNot,
  run: (scene) =>
    attackMemory(scene, async (plant) => {
      const former = await plant('old');
      const newest = await plant('old');
      return {
        spoilt: [newest],
        spoil: (memory, [places]) => {
          for (const place of places!) memory.write(place, former.envelope);
        },
      };
    }),
};

function whyNot(scene: Scene): string | undefined {
  if (scene.memberCount <= MEMBER) return 'one replica alone has nobody to repair it';
  const processId = scene.processIdOf(MEMBER);
  if (processId === undefined) return `replica ${MEMBER} is no process of this host that this user can see`;
  return whyNoAccess(processId);
}

interface Planted {
  readonly key: string;
  readonly value: Buffer;
  /** As it went over the network, and lies in host memory. */
  readonly envelope: Uint8Array;
}

interface Plan {
  /** Whose copies are going to be bad. */
  readonly spoilt: readonly Planted[];
  /** @param places Of each of them, where it was found. */
  readonly spoil: (memory: ProcessMemory, places: readonly (readonly number[])[]) => void;
}

type Plant = (name: string) => Promise<Planted>;

async function attackMemory(scene: Scene, prepare: (plant: Plant) => Promise<Plan>): Promise<Finding> {
  return withVictim(scene, async (victim) => {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const { spoilt, spoil } = await prepare((name) => plantValue(scene, victim, name));
      const isSpoilt = await whileStopped(scene, (memory) => {
        // Whole ones only: of what has been given back and taken anew in part, nothing may be hit.
        const places = spoilt.map(({ envelope }) => memory.find(envelope));
        const isFound = places.every((found) => found.length > 0);
        if (isFound) spoil(memory, places);
        return isFound;
      });
      if (isSpoilt) return readUntilNoticed(scene, spoilt);
    }
    throw new AvocadoError('NO_QUORUM', `values that were put never came to replica ${MEMBER}`);
  });
}

/** Puts a value, and sees it pass to the replica that is to be attacked; it can still get lost behind that. */
async function plantValue(scene: Scene, victim: Victim, name: string): Promise<Planted> {
  const key = scene.key(name);
  const value = randomBytes(VALUE_BYTES);
  const proxy = victim.proxies[MEMBER]!;
  let envelope: Uint8Array | undefined;
  proxy.toReplica = (datagram) => {
    envelope ??= valuePartOf(datagram, VALUE_BYTES);
    return [datagram];
  };
  await victim.client.put(key, value);
  // It may have ended without this replica, which then gets it a little later.
  await scene.until(() => envelope !== undefined);
  assert(envelope !== undefined, 'a put is sent to all replicas');
  await scene.settled(MEMBER);
  return { key, value, envelope };
}

/** A stopped process moves nothing: what was found is still there when it is written to. */
async function whileStopped<T>(scene: Scene, work: (memory: ProcessMemory) => T): Promise<T> {
  const processId = scene.processIdOf(MEMBER);
  assert(processId !== undefined, 'its process was seen before the attack');
  const memory = new ProcessMemory(processId);
  process.kill(processId, 'SIGSTOP');
  try {
    const hasStopped = await scene.until(() => isStopped(processId));
    assert(hasStopped, 'a process can only stop when it is told to');
    return work(memory);
  } finally {
    process.kill(processId, 'SIGCONT');
    memory.close();
  }
}

/** Third field of /proc/<pid>/stat (proc(5)), behind a name that may hold anything. */
function isStopped(processId: number): boolean {
  const stat = readFileSync(`/proc/${processId}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
}

/** Until the replica has replaced as many copies as were spoilt; any wrong value before that is the attacker's. */
async function readUntilNoticed(scene: Scene, planted: readonly Planted[]): Promise<Finding> {
  const before = await scene.statusOf(MEMBER);
  const clientBefore = scene.clientTampered;
  let after = before;
  let harm: string | undefined;
  const isHealed = await scene.until(async () => {
    for (let i = 0; i < READS_A_ROUND && harm === undefined; i++) {
      for (const { key, value } of planted) harm ??= await scene.wrongValueOf(key, value);
    }
    after = await scene.statusOf(MEMBER);
    return harm !== undefined || (after.repaired ?? 0) >= (before.repaired ?? 0) + planted.length;
  });
  const replica = `replica ${MEMBER}`;
  return {
    harm: harm ?? (isHealed ? undefined : UNNOTICED),
    moved: [
      { where: 'client', what: 'bad copies', before: clientBefore, after: scene.clientTampered },
      { where: replica, what: 'tampered', before: before.tampered ?? 0, after: after.tampered ?? 0 },
      { where: replica, what: 'repaired', before: before.repaired ?? 0, after: after.repaired ?? 0 },
    ],
  };
}
