/** Messages of read-modify-writes in the words of the scripts. Stamps as counter@writer+rmw, ballots and ids as number@writer. */
import { FLAG_CONFLICT, FLAG_PARTS, FLAG_TOMBSTONE, FLAG_VALUE } from '../../src/protocol/messages.ts';
import * as rmw from '../../src/protocol/rmw-messages.ts';
import type { Message, Stamp } from './fixtures.ts';
import { parseRmw } from './rmw-fixtures.ts';
import type { Ballot, Id } from './rmw-fixtures.ts';

function stampText({ counter, writerLow, rmw: number }: Stamp): string {
  return `${counter}@${writerLow}+${number}`;
}

function ballotText({ number, writer }: Ballot): string {
  return `${number}@${writer.writerLow}`;
}

function idText({ sequence, writer }: Id): string {
  return `${sequence}@${writer.writerLow}`;
}

export function describedRmw(message: Message): string {
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
      return `NACK ballot ${ballotText(ballot!)}`;
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
