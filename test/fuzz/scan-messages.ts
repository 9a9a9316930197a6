import { alignUp } from '../../net/bytes.ts';
import { KEY_BYTES_MAX, writeHead } from '../../src/protocol/messages.ts';
import {
  MESSAGE_SCAN,
  SCAN_BYTES,
  SCAN_ENTRIES_MAX,
  WORD_SCAN_END_BYTES,
  WORD_SCAN_ENTRIES,
  WORD_SCAN_START,
  WORD_SCAN_START_BYTES,
} from '../../src/protocol/scan-messages.ts';
import type { Dice } from '../cluster/dice.ts';

/** SCANs of a client that keeps to no rule: any range, also an empty or turned one, any length, any flags. */
const LENGTHS = [0, 0, 1, 7, 8, 9, 16, 1_023, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];
const ENTRIES = [0, 1, 2, 100, SCAN_ENTRIES_MAX, SCAN_ENTRIES_MAX + 1, -1];

export function hostileScan(dice: Dice): { readonly control: Int32Array; readonly value: Uint8Array } {
  const startBytes = dice.pick(LENGTHS);
  const endBytes = dice.pick(LENGTHS);
  const control = new Int32Array((SCAN_BYTES + alignUp(startBytes) + alignUp(endBytes)) / 4);
  writeHead(control, 0, MESSAGE_SCAN, dice.integer(0, dice.chance(0.9) ? 7 : 255), 1, 1);
  control[WORD_SCAN_START_BYTES] = startBytes;
  control[WORD_SCAN_END_BYTES] = endBytes;
  control[WORD_SCAN_ENTRIES] = dice.pick(ENTRIES);
  const bytes = new Uint8Array(control.buffer);
  const startByte = 4 * WORD_SCAN_START;
  bytes.fill(dice.pick([0, 1, 104, 255]), startByte, startByte + startBytes);
  const endByte = startByte + alignUp(startBytes);
  bytes.fill(dice.pick([0, 1, 104, 255]), endByte, endByte + endBytes);
  return { control, value: new Uint8Array(0) };
}
