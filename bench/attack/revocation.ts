import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { whyNoCas } from './admission.ts';
import type { Attack } from './attack.ts';
import type { Scene } from './scene.ts';

export const revokedClient: Attack = {
  name: 'revoked-client',
  deed: 'a client whose key an operator has revoked goes on with its certificate, which is good for hours yet',
  power: 'revoked',
  whyNot: (scene) => whyNoCas(scene) ?? whyNoOperator(scene),
  run: async (scene) => (await import('./revoked-client.ts')).goOn(scene),
};

export const revokedLas: Attack = {
  name: 'revoked-las',
  deed: 'the host of a member, of a cluster started for this, whose LAS an operator has revoked goes on serving clients',
  power: 'host',
  whyNot: () => undefined,
  run: async ({ signal }) => (await import('./revoked-las.ts')).serveOn(signal),
};

function whyNoOperator({ directory }: Scene): string | undefined {
  if (existsSync(join(directory, OPERATOR_FILE))) return undefined;
  return `the operator's key, ${OPERATOR_FILE}, is not in the cluster's directory`;
}
