import type { Authority, Identity } from './authority.ts';
import { RIGHT_WRITE } from './grants.ts';

/**
 * What the own certificate permits, so that a client does not ask for what replicas would refuse. They decide: whoever does
 * not know its rights, or has lost them meanwhile, is told.
 */
export class OwnRights {
  readonly #authority: Authority;
  readonly #nowSeconds: () => number;
  /** The certificate that was looked at: it is renewed, and may then permit something else. */
  #certificate: Uint8Array | undefined;
  #identity: Identity | undefined;

  /** @param nowSeconds Unix time. */
  constructor(authority: Authority, nowSeconds: () => number) {
    this.#authority = authority;
    this.#nowSeconds = nowSeconds;
  }

  /** The key at words[keyWord]. */
  mayWrite(words: Int32Array, keyWord: number, keyBytes: number): boolean {
    return this.#current()?.permissions.allows(RIGHT_WRITE, words, keyWord, keyBytes) ?? true;
  }

  #current(): Identity | undefined {
    const { certificate, staticKeyPair } = this.#authority;
    if (certificate !== this.#certificate) {
      const verdict = this.#authority.verify(certificate, staticKeyPair.publicKey, this.#nowSeconds());
      this.#certificate = certificate;
      this.#identity = verdict.ok ? verdict.identity : undefined;
    }
    return this.#identity;
  }
}
