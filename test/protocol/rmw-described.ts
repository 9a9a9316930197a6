/** Messages of read-modify-writes in the words of the scripts. Stamps as counter@writer+rmw, ballots and ids as number@writer. */
import { FLAG_CONFLICT, FLAG_PARTS, FLAG_TOMBSTONE, FLAG_VALUE, typeOf } from '../../src/protocol/messages.ts';
import * as rmw from '../../src/protocol/rmw-messages.ts';
import { MESSAGE_READ_ACCEPTED, MESSAGE_STAGE_PART } from '../../src/protocol/rmw-part-messages.ts';
import type { Message, Stamp } from './fixtures.ts';
import { parseRmw } from './rmw-fixtures.ts';
import type { Ballot, Id } from './rmw-fixtures.ts';
import { readAccepted, stagePart } from './rmw-part-fixtures.ts';

function stampText({ counter, writerLow, rmw: number }: Stamp): string {
  return `${counter}@${writerLow}+${number}`;
}

function ballotText({ number, writer }: Ballot): string {
  return `${number}@${writer.writerLow}`;
}

function idText({ sequence, writer }: Id): string {
  return `${sequence}@${writer.writerLow}`;
}

function describedStage(message: Message): string {
  const { id, stamp, part, partCount, key, piece } = stagePart(message);
  const what = part === 0 ? `key ${key}` : `${piece.length} B`;
  return `STAGE_PART ${idText(id)} ${stampText(stamp)} ${part} of ${partCount}: ${what}`;
}

function describedReadAccepted(message: Message): string {
  const { key, consensusSlot, id, byteOffset, byteCount } = readAccepted(message);
  return `READ_ACCEPTED ${key} slot ${consensusSlot} ${idText(id)} ${byteOffset}+${byteCount}`;
}

export function describedRmw(message: Message): string {
  const messageType = typeOf(message.control, 0);
  if (messageType === MESSAGE_STAGE_PART) return describedStage(message);
  if (messageType === MESSAGE_READ_ACCEPTED) return describedReadAccepted(message);
  const { type, flags, key, consensusSlot, ballot, id, stamp, ring, accepted } = parseRmw(message);
  const value = (flags & FLAG_VALUE) !== 0 ? ' value' : '';
  const kind = (flags & FLAG_TOMBSTONE) !== 0 ? ' tombstone' : (flags & FLAG_PARTS) !== 0 ? ' parts' : value;
  const rings = ring.map((entry) => ` ${entry.slot}:${idText(entry.id)}`).join('');
  switch (type) {
    case rmw.MESSAGE_PREPARE: {
      const next = (flags & rmw.FLAG_NEXT) !== 0 ? ' or later' : '';
      const register = (flags & rmw.FLAG_REGISTER) !== 0 ? ' register' : '';
      const yields = (flags & rmw.FLAG_YIELD) !== 0 ? ' yields' : '';
      const released = (flags & rmw.FLAG_RELEASE) !== 0 ? ' released' : '';
      return `PREPARE ${key} slot ${consensusSlot}${next} ballot ${ballotText(ballot!)}${register}${value}${yields}${released}`;
    }
    case rmw.MESSAGE_PROMISE: {
      const what =
        accepted === undefined
          ? ''
          : `, accepted ${idText(accepted.id)} ${stampText(accepted.stamp)} ballot ${ballotText(accepted.ballot)}`;
      return `PROMISE slot ${consensusSlot}, ${stampText(stamp!)}${kind}${what}`;
    }
    case rmw.MESSAGE_COMMITTED:
      return `COMMITTED slot ${consensusSlot}, ${stampText(stamp!)}${kind}, ring${rings}`;
    case rmw.MESSAGE_BEHIND:
      return `BEHIND slot ${consensusSlot}`;
    case rmw.MESSAGE_NACK:
      return (flags & rmw.FLAG_LACKING) !== 0 ? 'NACK lacking' : `NACK ballot ${ballotText(ballot!)}`;
    case rmw.MESSAGE_ACCEPT:
      return `ACCEPT ${key} slot ${consensusSlot} ballot ${ballotText(ballot!)}: ${idText(id!)} ${stampText(stamp!)}${kind}`;
    case rmw.MESSAGE_ACCEPTED:
      return 'ACCEPTED';
    case rmw.MESSAGE_COMMIT:
      return `COMMIT ${key} slot ${consensusSlot} ${stampText(stamp!)}${kind}, ring${rings}`;
    default: {
      const refused = (flags & rmw.FLAG_LACKING) !== 0 ? ' lacking' : (flags & FLAG_CONFLICT) !== 0 ? ' conflict' : '';
      return `COMMIT_REPLY${refused}`;
    }
  }
}
