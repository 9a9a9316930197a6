import type { Dice } from './dice.ts';
import { DATA_KEY_ID } from './simulated-trust.ts';

/** The beginning of an envelope that does not open, mostly under a data key that is kept. */
export function writeGarbage(words: Int32Array, word: number, dice: Dice): void {
  words[word] = dice.chance(0.9) ? DATA_KEY_ID : dice.integer(0, 0x7fff_ffff);
  words[word + 1] = dice.integer(0, 0x7fff_ffff);
}
