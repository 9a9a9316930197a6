/** Hostile input in simulated clusters (in-process.ts); FUZZ_SEED and FUZZ_DATAGRAMS choose another run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropReason } from '../../net/drops.ts';
import { fuzzInProcess } from './in-process.ts';

const FIRST_SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const DATAGRAM_COUNT = Number(process.env['FUZZ_DATAGRAMS'] ?? 20_000);

/**
 * What strangers' datagrams and a hostile client's messages must have met, or the generators have lost their way. No
 * 'handshakes-limited' and 'half-open-full': as each request is judged by itself, they come more slowly than that.
 */
const EXPECTED: readonly DropReason[] = [
  ...(['short', 'unknown-version', 'unknown-kind', 'wrong-mode', 'no-session', 'wrong-address'] as const),
  ...(['wrong-length', 'replayed', 'forged', 'malformed', 'wrong-mac1', 'cookie-due', 'handshake-failed'] as const),
  ...(['certificate-refused', 'no-handshake', 'wrong-epoch'] as const),
  ...(['wrong-writer', 'stamp-conflict', 'unexpected-message', 'repair-unusable'] as const),
];

test('every hostile datagram is taken, answered or counted, once, and the cluster serves on', (context) => {
  const { drops, messageCount, operationCount } = fuzzInProcess(FIRST_SEED, DATAGRAM_COUNT);
  context.diagnostic(`${messageCount} hostile messages, ${operationCount} operations, ${JSON.stringify(drops)}`);
  assert.ok(operationCount > 500, `${operationCount} operations`);
  assert.deepEqual(
    EXPECTED.filter((reason) => drops[reason] === undefined),
    [],
    'reasons that never came up',
  );
});
