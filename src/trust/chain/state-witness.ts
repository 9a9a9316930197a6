import type { SignedDocument } from './signed-document.ts';
import { openDocument } from './signed-document.ts';
import { WITNESS_WORD } from './messages.ts';
import type { WitnessWord } from './messages.ts';

/**
 * Keeps the newest word of CAS about its state (counter and hash, signed by the cluster key) in memory that the host of
 * CAS can't turn back. docs/trust-chain.md says what is done with it.
 */
export interface StateWitness {
  /** For people. */
  readonly name: string;
  /** Takes the word if it is newer than what it holds, and returns what it holds then. */
  put(word: SignedDocument): Promise<SignedDocument | null>;
  held(): Promise<SignedDocument | null>;
}

/** A majority of all: the one that was written to and the one that is asked have a witness in common. */
export function witnessQuorum(witnessCount: number): number {
  return Math.floor(witnessCount / 2) + 1;
}

type OwnWord = Omit<WitnessWord, 'stateHash'> & { readonly stateHash: string | null };

export type WitnessVerdict =
  /** A majority holds the state. */
  | { readonly type: 'held' }
  /** Too few answer to say. */
  | { readonly type: 'unknown'; readonly answered: number; readonly needed: number }
  /** A later state, or another one of the same counter, was written. */
  | { readonly type: 'overtaken'; readonly counter: number; readonly witness: string };

export async function tellWitnesses(
  witnesses: readonly StateWitness[],
  word: SignedDocument,
  own: WitnessWord,
  clusterPublicKey: Uint8Array,
): Promise<WitnessVerdict> {
  const answers = await Promise.all(witnesses.map((witness) => answerOf(witness, () => witness.put(word))));
  const isHeld = ({ held }: WitnessAnswer): boolean => held !== null && held.content === word.content;
  return judgeAnswers(answers, own, clusterPublicKey, answers.filter(isHeld).length);
}

/** @param own Hash null: of a state whose seal is not the one that was told. */
export async function askWitnesses(
  witnesses: readonly StateWitness[],
  own: OwnWord,
  clusterPublicKey: Uint8Array,
): Promise<WitnessVerdict> {
  const answers = await Promise.all(witnesses.map((witness) => answerOf(witness, () => witness.held())));
  return judgeAnswers(answers, own, clusterPublicKey, answers.filter(({ isThere }) => isThere).length);
}

interface WitnessAnswer {
  readonly witness: string;
  readonly isThere: boolean;
  readonly held: SignedDocument | null;
}

async function answerOf(
  { name: witness }: StateWitness,
  ask: () => Promise<SignedDocument | null>,
): Promise<WitnessAnswer> {
  try {
    return { witness, isThere: true, held: await ask() };
  } catch {
    return { witness, isThere: false, held: null };
  }
}

/** One word is enough to say that CAS was overtaken, because nobody else can sign it. */
function judgeAnswers(
  answers: readonly WitnessAnswer[],
  own: OwnWord,
  clusterPublicKey: Uint8Array,
  agreed: number,
): WitnessVerdict {
  for (const { witness, held } of answers) {
    const word = held === null ? undefined : openDocument(held, 'state witness', WITNESS_WORD, clusterPublicKey);
    if (word === undefined || word.clusterId !== own.clusterId || word.counter < own.counter) continue;
    const isOther = own.stateHash !== null && word.stateHash !== own.stateHash;
    if (word.counter > own.counter || isOther) {
      return { type: 'overtaken', counter: word.counter, witness };
    }
  }
  // Of no witnesses a majority is one: nobody can vouch for a state that none has seen.
  const needed = witnessQuorum(answers.length);
  return agreed >= needed ? { type: 'held' } : { type: 'unknown', answered: agreed, needed };
}

/** The side of a LAS. */
export class WitnessMemory {
  readonly #clusterPublicKey: Uint8Array;
  #held: SignedDocument | null = null;
  #counter = -1;

  constructor(clusterPublicKey: Uint8Array) {
    this.#clusterPublicKey = clusterPublicKey;
  }

  get held(): SignedDocument | null {
    return this.#held;
  }

  put(word: SignedDocument): SignedDocument | null {
    const content = openDocument(word, 'state witness', WITNESS_WORD, this.#clusterPublicKey);
    if (content !== undefined && content.counter > this.#counter) {
      this.#counter = content.counter;
      this.#held = word;
    }
    return this.#held;
  }
}
