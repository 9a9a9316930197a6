/**
 * Every nonce that any process of a simulation has sealed under, by key: a second use of one is the end of the run. The
 * sealing has assertions of its own, but of one process at a time; a restart with the same keys, or a salt that comes
 * twice, is seen from here only.
 */
export class NonceLedger {
  readonly #used = new Map<string, Set<string | number>>();

  /** @throws when the pair was used before. */
  use(keyName: string, nonce: string | number): void {
    let nonces = this.#used.get(keyName);
    if (nonces === undefined) this.#used.set(keyName, (nonces = new Set()));
    if (nonces.has(nonce)) throw new Error(`a nonce is used twice: ${nonce} under ${keyName.slice(0, 16)}`);
    nonces.add(nonce);
  }
}
