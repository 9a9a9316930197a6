/**
 * The bench's own random source: sfc32 (Chris Doty-Humphrey, PractRand), small, fast, 128 bits of state. Seeded, so
 * that a run is repeated by its seed. Not for anything secret.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Streams of one seed are independent: the bench gives each load process its own. */
  constructor(seed: number, stream = 0) {
    this.#a = seed | 0;
    this.#b = stream | 0;
    this.#c = 0x9e3779b9 | 0;
    // 12 rounds mix the seed into the whole state (PractRand seeds three words with 15, with a margin).
    for (let i = 0; i < 15; i++) this.nextWord();
  }

  /** A signed 32-bit word, all bits random. */
  nextWord(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result;
  }

  /** Uniform in [0, 1) with 53 bits, as java.util.Random's nextDouble has. */
  nextDouble(): number {
    const high = this.nextWord() >>> 5;
    const low = this.nextWord() >>> 6;
    return (high * 0x400_0000 + low) / 0x20_0000_0000_0000;
  }
}
