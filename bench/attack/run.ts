import { AvocadoError } from '../../src/errors.ts';
import type { Attack, Finding, Moved, Power } from './attack.ts';
import { Canaries } from './canaries.ts';
import type { Scene } from './scene.ts';

/** Runs attacks one after the other, and judges each. */
export type Verdict = 'caught' | 'succeeded' | 'not tried';

export interface AttackResult {
  readonly name: string;
  readonly deed: string;
  readonly power: Power;
  readonly verdict: Verdict;
  /** What the attacker got, or why it was not tried. */
  readonly reason?: string;
  readonly moved: readonly Moved[];
  /** Keys that the attack does not touch, read afterwards. */
  readonly canaries: { readonly read: number; readonly right: number };
  readonly tookMs: number;
}

export interface Observer {
  before(attack: Attack): void;
  after(result: AttackResult): void;
}

export async function runAttacks(
  scene: Scene,
  attacks: readonly Attack[],
  observer: Observer = { before: () => {}, after: () => {} },
): Promise<AttackResult[]> {
  const canaries = await Canaries.put(scene);
  const results: AttackResult[] = [];
  for (const attack of attacks) {
    scene.signal.throwIfAborted();
    observer.before(attack);
    const result = await runOne(scene, attack, canaries);
    observer.after(result);
    results.push(result);
  }
  return results;
}

async function runOne(scene: Scene, attack: Attack, canaries: Canaries): Promise<AttackResult> {
  const startMs = performance.now();
  const { name, deed, power } = attack;
  const whyNot = attack.whyNot(scene);
  if (whyNot !== undefined) {
    const untouched = { read: 0, right: 0 };
    return { name, deed, power, verdict: 'not tried', reason: whyNot, moved: [], canaries: untouched, tookMs: 0 };
  }
  const { harm, moved } = await finding(scene, attack);
  const wrong = await canaries.wrong();
  const reason = harm ?? (wrong.length > 0 ? `keys that it did not touch are wrong now: ${wrong[0]}` : undefined);
  return {
    name,
    deed,
    power,
    verdict: reason === undefined ? 'caught' : 'succeeded',
    ...(reason !== undefined && { reason }),
    moved,
    canaries: { read: canaries.count, right: canaries.count - wrong.length },
    tookMs: Math.round(performance.now() - startMs),
  };
}

/** An attack that makes the honest clients' operations fail has stopped the service, and so succeeded. */
async function finding(scene: Scene, attack: Attack): Promise<Finding> {
  try {
    return await attack.run(scene);
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return { harm: `operations of honest clients fail: ${error.code}, ${error.message}`, moved: [] };
  }
}
