import {
  changedBuild,
  debugEnclave,
  forgedLas,
  otherKey,
  replayedEvidence,
  replayedVoucher,
  secondMember,
} from './admission.ts';
import type { Attack } from './attack.ts';
import { oldCasState } from './cas-disk.ts';
import { poisonedCounter } from './counters.ts';
import { changeInFlight, forgeDatagrams, replayDatagrams } from './datagrams.ts';
import { foreignKey, plaintextClient, replayHandshake } from './handshakes.ts';
import { flipValue, oldValue, swapValues } from './host-memory.ts';
import { anothersWriterId, prefixOverstepped } from './overstepping.ts';
import { emptyReplica } from './restart.ts';
import { revokedClient, revokedLas } from './revocation.ts';

/** Those on the chain of trust: who gets keys, and keeps them. */
export const CHAIN_ATTACKS: readonly Attack[] = [
  changedBuild,
  debugEnclave,
  forgedLas,
  replayedVoucher,
  otherKey,
  replayedEvidence,
  secondMember,
  revokedClient,
  revokedLas,
  oldCasState,
];

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
  poisonedCounter,
  prefixOverstepped,
  anothersWriterId,
  ...CHAIN_ATTACKS,
  emptyReplica,
];
