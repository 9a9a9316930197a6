import { DataKeyRing } from '../../src/trust/data-key-ring.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { seededBytes, seededRandom } from './random.ts';
import { ReorderingSealing } from './reordering-sealing.ts';
import { sealingContract } from './sealing-contract.ts';

const dataKeys = DataKeyRing.of(1, seededBytes(32, 1));

for (const mode of SECURITY_MODES) {
  sealingContract('inline', mode, () => createInlineSealing({ mode, dataKeys }));
  sealingContract(
    'late and in shuffled order',
    mode,
    () => new ReorderingSealing(createInlineSealing({ mode, dataKeys }), seededRandom(7)),
  );
}
