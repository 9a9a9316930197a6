import { alignUp } from '../../net/bytes.ts';
import type { Session } from '../../net/session.ts';
import {
  MESSAGE_STATUS,
  MESSAGE_STATUS_REQUEST,
  STATUS_BYTES,
  STATUS_REQUEST_BYTES,
  WORD_STATUS_BODY,
  WORD_STATUS_BYTES,
  writeHead,
} from './messages.ts';
import type { Messenger } from './messenger.ts';
import type { Peer } from './peer.ts';

/**
 * STATUS: a replica's figures as JSON, for people and for the bench. Rare, so it may allocate. A body that does not fit
 * into the asker's datagram goes without its list of drops.
 */
export function sendStatus(
  messenger: Messenger,
  session: Session<Peer>,
  slot: number,
  generation: number,
  status: Record<string, unknown>,
): void {
  if (!sendBody(messenger, session, slot, generation, JSON.stringify(status))) {
    sendBody(messenger, session, slot, generation, JSON.stringify({ ...status, drops: undefined }));
  }
}

export function sendStatusRequest(messenger: Messenger, session: Session<Peer>, slot: number): boolean {
  if (!messenger.append(session, STATUS_REQUEST_BYTES, 0)) return false;
  writeHead(messenger.out.control.words, messenger.out.word, MESSAGE_STATUS_REQUEST, 0, slot, 0);
  return true;
}

/** The body; undefined when it is no JSON object. */
export function readStatus(
  region: { readonly bytes: Uint8Array; readonly words: Int32Array },
  word: number,
): object | undefined {
  const bodyBytes = region.words[word + WORD_STATUS_BYTES]!;
  const start = (word + WORD_STATUS_BODY) * 4;
  try {
    const body: unknown = JSON.parse(Buffer.from(region.bytes.subarray(start, start + bodyBytes)).toString('utf8'));
    return typeof body === 'object' && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

function sendBody(
  messenger: Messenger,
  session: Session<Peer>,
  slot: number,
  generation: number,
  json: string,
): boolean {
  const body = Buffer.from(json);
  if (!messenger.append(session, STATUS_BYTES + alignUp(body.length), 0)) return false;
  const { control, word } = messenger.out;
  writeHead(control.words, word, MESSAGE_STATUS, 0, slot, generation);
  control.words[word + WORD_STATUS_BYTES] = body.length;
  control.words[word + WORD_STATUS_BYTES + 1] = 0;
  const start = (word + WORD_STATUS_BODY) * 4;
  control.bytes.fill(0, start, start + alignUp(body.length));
  control.bytes.set(body, start);
  return true;
}
