import { admission } from './admission.ts';
import { attacks } from './attacks.ts';
import { byteRate } from './byte-rate.ts';
import { crashKill, crashStop } from './crash.ts';
import { evidence } from './evidence.ts';
import { freshClone } from './fresh-clone.ts';
import { goodput } from './goodput.ts';
import { largeValues } from './large-values.ts';
import { handshakeFlood } from './handshake-flood.ts';
import { increments } from './increments.ts';
import { memoryFlat } from './memory-flat.ts';
import { memoryKeys } from './memory-keys.ts';
import { plainBefore } from './plain-before.ts';
import type { Proof } from './proof.ts';
import { rotation } from './rotation.ts';
import { rmwSpeed } from './rmw-speed.ts';
import { scans } from './scans.ts';
import { simulation } from './simulation.ts';
import { speed } from './speed.ts';
import { tamper } from './tamper.ts';
import { workers } from './workers.ts';

/** In the order in which they are run: what fails most clearly comes first, what takes longest last. */
export const PROOFS: readonly Proof[] = [
  freshClone,
  crashKill,
  crashStop,
  tamper,
  attacks,
  admission,
  evidence,
  handshakeFlood,
  increments,
  rotation,
  speed,
  rmwSpeed,
  plainBefore,
  goodput,
  largeValues,
  byteRate,
  workers,
  memoryKeys,
  scans,
  simulation,
  memoryFlat,
];
