/** A short run against real processes (live.ts); `npm run fuzz` makes long ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzLive } from './live.ts';

test('a replica process under load takes, answers or counts each hostile datagram, and serves on', async (context) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 1);
  const summary = await fuzzLive({ seed, seconds: 3, onProgress: () => {} });
  context.diagnostic(`seed ${seed}: ${JSON.stringify(summary)}`);
  assert.ok(summary.datagramCount >= 500, 'datagrams were sent');
  assert.ok(summary.messageCount >= 50, 'messages were sent');
});
