import { EMPTY_REPORT } from '../../src/trust/chain/cas-state.ts';
import { advanceKeys, announceKey } from '../../src/trust/chain/key-rotation.ts';
import type { KeyState } from '../../src/trust/chain/key-rotation.ts';
import { bytesOfHex, hexOf } from '../../src/trust/hex.ts';
import { DEFAULT_SPACE } from '../../src/trust/key-space.ts';
import type { Dice } from './dice.ts';
import type { KeyHolder, SimulatedCluster } from './simulated-cluster.ts';
import { DATA_KEY_ID, dataKey } from './simulated-trust.ts';

/**
 * CAS in a simulated cluster, as far as it rotates the data key: its own rules (trust/chain/key-rotation.ts), and holders of
 * keys that look at it now and then, each at times of its own.
 */
const REFRESH_MS = 40;
const TICK_MS = 5;
/** From calm on: a look through an empty index takes a few hundred milliseconds, and several follow each other. */
const ROTATION_MS_MAX = 120_000;
const READ_MS_MAX = 10_000;
const WRITE_MS_MAX = 60;
const QUIET_KEYS = ['quiet 0', 'quiet 1', 'quiet 2', 'quiet 3'];

export class RandomRotation {
  readonly #cluster: SimulatedCluster;
  readonly #dice: Dice;
  readonly #state: KeyState;
  #isOver = false;

  constructor(cluster: SimulatedCluster, dice: Dice) {
    this.#cluster = cluster;
    this.#dice = dice;
    const key = { id: DATA_KEY_ID, space: DEFAULT_SPACE, key: hexOf(dataKey), phase: 'current', sinceMs: 0 } as const;
    this.#state = {
      spaces: [{ name: DEFAULT_SPACE, prefixHex: '', currentDataKeyId: DATA_KEY_ID }],
      dataKeys: [key],
      lastDataKeyId: DATA_KEY_ID,
      destroyedKeys: [],
      keySequence: 0,
      refreshSeconds: REFRESH_MS / 1_000,
      lases: [],
      revoked: [],
      members: cluster.replicas.map(() => ({ staticKey: '', group: 0, keyReport: EMPTY_REPORT })),
    };
    for (const holder of cluster.keyHolders) this.#lookNowAndThen(holder);
    // Whoever joins has the keys at once.
    cluster.onKeyHolder = (holder) => this.#lookNowAndThen(holder);
  }

  /** While clients are at work. */
  begin(): void {
    const cluster = this.#cluster;
    cluster.time.after(this.#dice.between(0, 60), () => {
      this.#writeQuietKeys();
      announceKey(this.#state, DEFAULT_SPACE, cluster.time.nowMs);
      cluster.observer.coverage.rules.add('data key announced');
      this.#tick();
    });
  }

  /** Nobody writes them again: only a member that seals them anew takes them away from the old key. */
  #writeQuietKeys(): void {
    for (const client of this.#cluster.clients) {
      if (!client.process.isAlive) continue;
      for (const key of QUIET_KEYS) client.tryStart('put', key, `${key} of ${client.name}`, WRITE_MS_MAX, undefined);
      return;
    }
  }

  get #isDone(): boolean {
    return this.#state.destroyedKeys.length > 0;
  }

  #tick(): void {
    const { time } = this.#cluster;
    for (const { id, phase } of advanceKeys(this.#state, time.nowMs)) this.#cluster.note(`data key ${id} is ${phase}`);
    if (!this.#isOver) time.after(TICK_MS, () => this.#tick());
  }

  #lookNowAndThen(holder: KeyHolder): void {
    this.#look(holder);
    const again = (): void => {
      if (!holder.process.isAlive || this.#isOver) return;
      this.#look(holder);
      this.#cluster.time.after(this.#dice.between(REFRESH_MS / 2, REFRESH_MS), again);
    };
    this.#cluster.time.after(this.#dice.between(0, REFRESH_MS), again);
  }

  #look({ dataKeys, memberIndex, hasDataKeys }: KeyHolder): void {
    const spaces = this.#state.spaces.map(({ name, currentDataKeyId }) => ({
      name,
      prefix: new Uint8Array(0),
      currentId: currentDataKeyId,
    }));
    const lacking = hasDataKeys ? this.#state.dataKeys.filter(({ id }) => !dataKeys.keyIds.includes(id)) : [];
    dataKeys.update(
      spaces,
      lacking.map(({ id, key }) => ({ id, key: bytesOfHex(key) })),
    );
    const { dataKeys: keys, lastDataKeyId: lastId, destroyedKeys } = this.#state;
    dataKeys.follow(spaces, { keys, lastId, destroyed: destroyedKeys.map(({ id }) => id) });
    if (memberIndex !== undefined) {
      const { held, unused, closed } = dataKeys.report();
      const keyReport = { held: [...held], unused: [...unused], closed: [...closed] };
      this.#state.members[memberIndex]!.keyReport = keyReport;
    }
  }

  /** In calm: what is wrong, or undefined. @param mustEnd No member is gone: then nothing keeps the old key in use. */
  finish(mustEnd: boolean, keys: readonly string[]): string | undefined {
    const { time } = this.#cluster;
    if (mustEnd && !time.runUntil(() => this.#isDone, ROTATION_MS_MAX)) {
      const phases = this.#state.dataKeys.map(({ id, phase }) => `${id} ${phase}`).join(', ');
      return `the old data key is not destroyed within ${ROTATION_MS_MAX} ms of calm: ${phases}`;
    }
    if (this.#isDone) this.#cluster.observer.coverage.rules.add('data key destroyed');
    time.run(2 * REFRESH_MS);
    const reader = this.#cluster.addClient();
    const reads = [...keys, ...QUIET_KEYS].map((key) => reader.tryStart('get', key, undefined, READ_MS_MAX, undefined));
    if (!time.runUntil(() => reads.every((read) => read?.outcome !== undefined), READ_MS_MAX))
      return 'a get does not end';
    this.#isOver = true;
    const failed = reads.find((read) => read !== undefined && !['ok', 'absent'].includes(read.outcome!));
    if (failed === undefined) return undefined;
    return `after the rotation a get of ${failed.key} ends as ${failed.outcome}`;
  }
}
