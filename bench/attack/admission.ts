import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ACCESS_FILE } from '../../src/trust/chain/access-file.ts';
import type { Attack } from './attack.ts';
import type { Door } from './door.ts';

/** Attacks on the way into a cluster: what a host or a stranger shows to CAS in order to get data keys. */
const MEASUREMENT_BYTES = 48;
const KEY_BYTES = 32;

export const changedBuild = admissionAttack(
  'changed-build',
  'the host starts a build of its own and has the genuine LAS vouch for it',
  'host',
  async (door) => {
    const claim = await door.claim();
    return door.refusal(claim, await door.voucher(claim, randomBytes(MEASUREMENT_BYTES).toString('hex')));
  },
);

export const forgedLas = admissionAttack(
  'forged-las',
  'a stranger signs a voucher itself, under the name of a genuine LAS',
  'outsider',
  async (door) => {
    const claim = await door.claim();
    return door.refusal(claim, door.forged(await door.voucher(claim)));
  },
);

export const replayedVoucher = admissionAttack(
  'replayed-voucher',
  'the network repeats a join that CAS has accepted',
  'network',
  async (door) => {
    const claim = await door.claim();
    const voucher = await door.voucher(claim);
    await door.refusal(claim, voucher);
    return door.refusal(claim, voucher);
  },
);

export const otherKey = admissionAttack(
  'other-key',
  'a host shows the voucher of an honest process with keys of its own beside it',
  'host',
  async (door) => {
    const honest = await door.claim();
    const voucher = await door.voucher({ ...honest, deliveryKey: randomBytes(KEY_BYTES).toString('hex') });
    return door.refusal(honest, voucher);
  },
);

function admissionAttack(
  name: string,
  deed: string,
  power: Attack['power'],
  attempt: (door: Door) => Promise<string | undefined>,
): Attack {
  return {
    name,
    deed,
    power,
    whyNot: (scene) => {
      const hasCas = existsSync(join(scene.directory, ACCESS_FILE));
      return hasCas ? undefined : 'this cluster has no CAS: its keys lie in files';
    },
    // Loaded when it is run: all commands load the list of attacks.
    run: async (scene) => (await import('./door.ts')).atDoor(scene, attempt),
  };
}
