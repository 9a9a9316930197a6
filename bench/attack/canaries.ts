import { randomBytes } from 'node:crypto';
import type { Scene } from './scene.ts';

/** Keys that no attack has any business with, read after each one: does the service still answer rightly? */
const COUNT = 8;
const BYTES = 256;

export class Canaries {
  readonly #scene: Scene;
  readonly #values = new Map<string, Buffer>();

  private constructor(scene: Scene) {
    this.#scene = scene;
  }

  static async put(scene: Scene): Promise<Canaries> {
    const canaries = new Canaries(scene);
    for (let i = 0; i < COUNT; i++) canaries.#values.set(scene.key(`canary ${i}`), randomBytes(BYTES));
    await scene.client.putMany(canaries.#values);
    return canaries;
  }

  get count(): number {
    return COUNT;
  }

  /** What is wrong with each that is not read rightly. */
  async wrong(): Promise<string[]> {
    const wrong: string[] = [];
    for (const [key, value] of this.#values) {
      const reason = await this.#scene.wrongValueOf(key, value);
      if (reason !== undefined) wrong.push(reason);
    }
    return wrong;
  }
}
