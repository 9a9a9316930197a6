import type { Region } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  CALL_REPLY_BYTES,
  CALL_RMW,
  REPLY_FOUND,
  REPLY_VERSION,
  WORD_CALL_REPLY_ATTEMPT,
  isReadOnly,
  wantsVersion,
} from '../protocol/call-messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Answer, EndedStamp } from '../protocol/outcome.ts';
import type { Peer } from '../protocol/peer.ts';
import type { TrustedBudget } from '../store/trusted-budget.ts';
import { CALL_OUTCOMES, CALL_OUTCOME_NUMBERS } from './call-outcome.ts';
import type { CallOutcome } from './call-outcome.ts';
import { PartedAnswers } from './call-parts-answers.ts';
import type { CallPartsMemory, NoBlock } from './call-parts-memory.ts';
import { replyBytes, writeReplyBody, writeReplyHead } from './call-reply.ts';
import type { CallStream } from './call-table.ts';
import { KEPT_BYTES, KeptAnswers, NO_ANSWER } from './kept-answers.ts';

/**
 * What a replica says to calls: outcomes; values and versions, whole or to be asked for by parts; and answers that are
 * kept, once more. When nothing can be sent now, the client will ask again.
 */
const KEPT_ACCOUNT = 'kept answers';

export class CallAnswers {
  readonly parted: PartedAnswers;
  readonly #messenger: Messenger;
  readonly #budget: TrustedBudget;
  /** Made when the first read-modify-write comes. */
  #kept: KeptAnswers | undefined;

  constructor(messenger: Messenger, budget: TrustedBudget, partsMemory: CallPartsMemory) {
    this.#messenger = messenger;
    this.#budget = budget;
    this.parted = new PartedAnswers(partsMemory, messenger);
  }

  /** Longest value that an answer to a read-modify-write holds: it goes in one datagram. */
  changedBytesMax(stream: CallStream): number {
    return this.#messenger.valueBytesMax(stream.session, replyBytes(REPLY_VERSION | REPLY_FOUND, 0));
  }

  /** Whether answers of read-modify-writes can be kept. False when the trusted budget has no room for them. */
  canKeep(): boolean {
    if (this.#kept === undefined && this.#budget.tryReserve(KEPT_ACCOUNT, KEPT_BYTES)) this.#kept = new KeptAnswers();
    return this.#kept !== undefined;
  }

  /**
   * Finishes a running call with what its operation has brought. Not a get whose value is larger than a datagram when there
   * is no room to keep it: then it says why.
   * @param opened Bytes [0, openedBytes) hold the value, if there is one.
   */
  finish(
    stream: CallStream,
    slot: number,
    kind: number,
    outcome: Answer,
    ended: EndedStamp,
    opened: Uint8Array,
    openedBytes: number,
  ): NoBlock | undefined {
    const generation = stream.generation[slot]!;
    const attempt = stream.attempt[slot]!;
    // What was opened last may be another client's value.
    const valueBytes = ended.hasValue ? openedBytes : 0;
    const has = wantsVersion(kind) ? REPLY_VERSION | (ended.hasValue ? REPLY_FOUND : 0) : 0;
    const byteCount = replyBytes(has, valueBytes);
    const messenger = this.#messenger;
    const fits = messenger.fits(stream.session, byteCount, 0);
    if (!fits && isReadOnly(kind)) {
      const refusal = this.parted.keep(stream, slot, has, ended, opened, valueBytes);
      if (refusal !== undefined) return refusal;
    }
    const tooLarge = kind === CALL_RMW && outcome === 'ok' ? 'done-too-large' : 'too-large';
    const said = fits || isReadOnly(kind) ? outcome : tooLarge;
    stream.finish(slot, generation, CALL_OUTCOME_NUMBERS[said]);
    if (!fits && isReadOnly(kind)) this.parted.reply(stream, slot, attempt);
    else if (!fits) this.tell(stream, slot, attempt, said);
    else if (kind === CALL_RMW) {
      const kept = this.#kept!;
      const place = kept.reserve(byteCount);
      stream.keep(slot, place);
      writeAnswer(kept.region, kept.wordOf(place), stream, slot, outcome, has, ended, opened, valueBytes);
      this.again(stream, slot, attempt);
    } else if (messenger.append(stream.session, byteCount, 0)) {
      const { control, word } = messenger.out;
      writeAnswer(control, word, stream, slot, outcome, has, ended, opened, valueBytes);
    }
    return undefined;
  }

  /** Of a finished write. */
  again(stream: CallStream, slot: number, attempt: number): void {
    const outcome = CALL_OUTCOMES[stream.outcome[slot]!]!;
    const place = stream.keptAnswer(slot);
    if (place === NO_ANSWER) return this.tell(stream, slot, attempt, outcome);
    const byteCount = this.#kept!.bytesAt(place);
    if (byteCount === 0) return this.tell(stream, slot, attempt, 'outcome-unknown');
    const messenger = this.#messenger;
    // A session that came since may have smaller datagrams.
    if (!messenger.fits(stream.session, byteCount, 0)) return this.tell(stream, slot, attempt, 'outcome-unknown');
    if (!messenger.append(stream.session, byteCount, 0)) return;
    const { out } = messenger;
    this.#kept!.copy(place, out.control.words, out.word);
    out.control.words[out.word + WORD_CALL_REPLY_ATTEMPT] = attempt;
  }

  /** How the latest call of the slot has ended. */
  tell(stream: CallStream, slot: number, attempt: number, outcome: CallOutcome): void {
    this.tellSession(stream.session, stream.number, slot, stream.generation[slot]!, attempt, outcome);
  }

  tellSession(
    session: Session<Peer>,
    streamNumber: number,
    slot: number,
    generation: number,
    attempt: number,
    outcome: CallOutcome,
  ): void {
    if (!this.#messenger.append(session, CALL_REPLY_BYTES, 0)) return;
    const { out } = this.#messenger;
    writeReplyHead(out.control.words, out.word, outcome, streamNumber, slot, generation, attempt);
  }
}

function writeAnswer(
  region: Region,
  word: number,
  stream: CallStream,
  slot: number,
  outcome: CallOutcome,
  has: number,
  ended: EndedStamp,
  value: Uint8Array,
  valueBytes: number,
): void {
  const generation = stream.generation[slot]!;
  writeReplyHead(region.words, word, outcome, stream.number, slot, generation, stream.attempt[slot]!);
  writeReplyBody(region, word, has, ended, value, valueBytes);
}
