import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ACCESS_FILE } from '../../src/trust/chain/access-file.ts';
import type { Attack } from './attack.ts';
import type { Answer, Door } from './door.ts';
import type { Scene } from './scene.ts';

/** Attacks on the way into a cluster: what a host or a stranger shows to CAS in order to get data keys, or to vouch. */
const MEASUREMENT_BYTES = 48;
const KEY_BYTES = 32;
/** Any member's place is taken in a cluster that runs. */
const TAKEN_MEMBER = 1;

export const changedBuild = admissionAttack(
  'changed-build',
  'the host starts a build of its own and has the genuine LAS vouch for it',
  'host',
  async (door) => {
    const measurement = randomBytes(MEASUREMENT_BYTES).toString('hex');
    const claim = await door.claim();
    return [await door.join(claim, await door.voucher(claim, { measurement }))];
  },
);

export const debugEnclave = admissionAttack(
  'debug-enclave',
  'the host starts the genuine build with debugging on, as a client and as a LAS, to read its memory',
  'host',
  async (door) => {
    const claim = await door.claim();
    const asClient = await door.join(claim, await door.voucher(claim, { debug: true }));
    const registration = await door.registration();
    const asLas = await door.register(registration, await door.evidence(registration, { debug: true }));
    return [asClient, asLas];
  },
);

export const forgedLas = admissionAttack(
  'forged-las',
  'a stranger signs a voucher itself, under the name of a genuine LAS',
  'outsider',
  async (door) => {
    const claim = await door.claim();
    return [await door.join(claim, door.forged(await door.voucher(claim)))];
  },
);

export const replayedVoucher = admissionAttack(
  'replayed-voucher',
  'the network repeats a join that CAS has accepted',
  'network',
  async (door) => {
    const claim = await door.claim();
    const voucher = await door.voucher(claim);
    await door.join(claim, voucher);
    return [await door.join(claim, voucher)];
  },
);

export const replayedEvidence = admissionAttack(
  'replayed-evidence',
  'a host shows evidence that a genuine LAS made earlier, with a fresh nonce beside it',
  'host',
  async (door) => {
    const earlier = await door.registration();
    const evidence = await door.evidence(earlier);
    return [await door.register({ ...earlier, nonce: await door.nonce() }, evidence)];
  },
);

export const otherKey = admissionAttack(
  'other-key',
  'a host shows voucher and evidence of honest processes with keys of its own beside them',
  'host',
  async (door) => {
    const honest = await door.claim();
    const stolen = await door.voucher({ ...honest, deliveryKey: randomBytes(KEY_BYTES).toString('hex') });
    const asClient = await door.join(honest, stolen);
    const own = await door.registration();
    const evidence = await door.evidence({ ...own, voucherKey: randomBytes(KEY_BYTES).toString('hex') });
    return [asClient, await door.register(own, evidence)];
  },
);

export const secondMember = admissionAttack(
  'second-member',
  `the host starts the genuine build as member ${TAKEN_MEMBER} once more, while that member runs`,
  'host',
  async (door) => {
    const claim = await door.claim({ role: 'replica', memberIndex: TAKEN_MEMBER });
    return [await door.join(claim, await door.voucher(claim))];
  },
  ({ memberCount }) => (memberCount <= TAKEN_MEMBER ? `this cluster has no member ${TAKEN_MEMBER}` : undefined),
);

export function whyNoCas({ directory }: Scene): string | undefined {
  return existsSync(join(directory, ACCESS_FILE)) ? undefined : 'this cluster has no CAS: its keys lie in files';
}

function admissionAttack(
  name: string,
  deed: string,
  power: Attack['power'],
  attempt: (door: Door) => Promise<readonly Answer[]>,
  whyNot: Attack['whyNot'] = () => undefined,
): Attack {
  return {
    name,
    deed,
    power,
    whyNot: (scene) => whyNoCas(scene) ?? whyNot(scene),
    // Loaded when it is run: all commands load the list of attacks.
    run: async (scene) => (await import('./door.ts')).atDoor(scene, attempt),
  };
}
