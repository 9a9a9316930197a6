import { changedBuild, forgedLas, otherKey, replayedVoucher } from './admission.ts';
import type { Attack } from './attack.ts';
import { changeInFlight, forgeDatagrams, replayDatagrams } from './datagrams.ts';
import { foreignKey, plaintextClient, replayHandshake } from './handshakes.ts';
import { flipValue, oldValue, swapValues } from './host-memory.ts';
import { emptyReplica } from './restart.ts';

/** All attacks, in the order in which they are run: the one that costs a replica last. */
export const ATTACKS: readonly Attack[] = [
  flipValue,
  swapValues,
  oldValue,
  replayDatagrams,
  forgeDatagrams,
  changeInFlight,
  replayHandshake,
  foreignKey,
  plaintextClient,
  changedBuild,
  forgedLas,
  replayedVoucher,
  otherKey,
  emptyReplica,
];
