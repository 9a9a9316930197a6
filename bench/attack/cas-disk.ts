import type { Attack } from './attack.ts';

export const oldCasState: Attack = {
  name: 'old-cas-state',
  deed: 'the host of a CAS, started for this, puts the sealed state from before a revocation back and starts it again',
  power: 'host',
  whyNot: () => undefined,
  run: async ({ signal }) => (await import('./old-cas-state.ts')).turnBack(signal),
};
