/**
 * The path of a value allocates nothing of ours. Heap growth is read over runs short enough that no collection falls
 * into them; of several runs the median counts, since the engine allocates now and then for itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { allocateRegion } from '../../net/bytes.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import { WorkerPool } from '../../workers/worker-pool.ts';
import { dataKeys, EVERYTHING, workerSealing } from './worker-fixture.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const RUNS = 20;
const VALUES_PER_RUN = 5_000;
const BATCH = 100;
const VALUE_BYTES = 256;

/** Measured: 0.1. A view for each value would cost 100 and more. */
const HEAP_BYTES_PER_VALUE_MAX = 16;

test('100,000 values sealed and opened: the heap grows by next to nothing each', () => {
  checkGrowth(createInlineSealing({ mode: 'secure', dataKeys }));
});

test('nor does it where there are workers, for values that are not worth them', async () => {
  const pool = await WorkerPool.start({ workerCount: 1 });
  checkGrowth(workerSealing(pool, { threshold: { ...EVERYTHING, fromBytes: VALUE_BYTES + 1 } }));
  await pool.close();
});

function checkGrowth(sealing: Sealing): void {
  const strideWords = 128;
  const envelopes = allocateRegion(BATCH * strideWords * 4);
  const tags = new Int32Array(BATCH * 4);
  const keys = new Int32Array(6);
  let openedCount = 0;
  const sink = {
    onValueSealed() {},
    onValueOpened(_token: number, opened: boolean) {
      if (opened) openedCount++;
    },
  };
  const envelopeBytes = ENVELOPE_HEADER_BYTES + VALUE_BYTES;
  const run = () => {
    for (let done = 0; done < VALUES_PER_RUN; done += BATCH) {
      for (let i = 0; i < BATCH; i++) {
        sealing.submitSealValue(i, envelopes, i * strideWords, envelopeBytes, tags, i * 4, keys, 0, 24);
      }
      sealing.drainValues(sink);
      for (let i = 0; i < BATCH; i++) {
        sealing.submitOpenValue(i, envelopes, i * strideWords, envelopeBytes, tags, i * 4, keys, 0, 24);
      }
      sealing.drainValues(sink);
    }
  };

  run();
  run();
  const growths: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    run();
    growths.push((process.memoryUsage().heapUsed - before) / VALUES_PER_RUN);
  }
  assert.equal(openedCount, (RUNS + 2) * VALUES_PER_RUN);
  growths.sort((a, b) => a - b);
  const median = growths[RUNS / 2]!;
  assert.ok(median <= HEAP_BYTES_PER_VALUE_MAX, `${median.toFixed(1)} bytes a value`);
}
