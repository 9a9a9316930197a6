import { SECURITY_MODES } from '../../net/mode.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { DataKeys } from '../../workers/sealing.ts';
import { seededBytes, seededRandom } from './random.ts';
import { ReorderingSealing } from './reordering-sealing.ts';
import { sealingContract } from './sealing-contract.ts';

const dataKey = seededBytes(32, 1);
const dataKeys: DataKeys = { currentId: 1, key: (id) => (id === 1 ? dataKey : undefined) };

for (const mode of SECURITY_MODES) {
  sealingContract('inline', mode, () => createInlineSealing({ mode, dataKeys }));
  sealingContract(
    'late and in shuffled order',
    mode,
    () => new ReorderingSealing(createInlineSealing({ mode, dataKeys }), seededRandom(7)),
  );
}
