import type { Attack } from '../../bench/attack/attack.ts';
import { startOwnCluster } from '../../bench/attack/own-cluster.ts';
import { runAttacks } from '../../bench/attack/run.ts';
import type { AttackResult } from '../../bench/attack/run.ts';
import { Scene } from '../../bench/attack/scene.ts';
import type { SecurityMode } from '../../net/mode.ts';

/** Attacks a cluster that is started for it, as `avocado attack` does. */
export async function attackOwnCluster(
  mode: SecurityMode,
  attacks: readonly Attack[],
  signal: AbortSignal,
  /** 'files': without CAS and LAS. */
  keysFrom: 'cas' | 'files',
): Promise<AttackResult[]> {
  const cluster = await startOwnCluster({ mode, keysFrom });
  try {
    const scene = await Scene.open({ directory: cluster.directory, isOwn: true, mayRestart: false, signal });
    try {
      return await runAttacks(scene, attacks);
    } finally {
      await scene.close();
    }
  } finally {
    await cluster.stop();
  }
}
