import assert from 'node:assert/strict';
import { extname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { allocateRegion } from '../../net/bytes.ts';
import { calibrate } from '../../workers/calibration.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { JOB_COUNT, JOB_DONE } from '../../workers/job-memory.ts';
import { KeyTable } from '../../workers/key-table.ts';
import { openProcessSealing } from '../../workers/process-sealing.ts';
import { WorkerPool } from '../../workers/worker-pool.ts';
import type { WorkerSealing } from '../../workers/worker-sealing.ts';
import { seededBytes } from './random.ts';
import {
  bytesFor,
  bytesOf,
  letWorkersWork,
  openValue,
  Reports,
  sealableValue,
  sealValue,
  settleDatagrams,
  settleValues,
  submitOpen,
  submitSeal,
} from './sealing-driver.ts';
import { dataKeys, EVERYTHING, workerSealing } from './worker-fixture.ts';

const WAIT_MS_MAX = 20_000;
const MIB = 2 ** 20;

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (!condition()) {
    assert.ok(performance.now() < deadlineMs, what);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe('which jobs are handed over', () => {
  let pool: WorkerPool;
  before(async () => {
    pool = await WorkerPool.start({ workerCount: 1 });
  });
  after(async () => {
    await pool.close();
  });

  test('a value from the threshold on, a shorter one not', () => {
    const sealing = workerSealing(pool, { threshold: { ...EVERYTHING, fromBytes: 20_000 } });
    openValue(sealing, sealValue(sealing, seededBytes(19_999, 1), bytesOf('key')));
    assert.equal(sealing.jobCount, 0);
    openValue(sealing, sealValue(sealing, seededBytes(20_000, 1), bytesOf('key')));
    assert.equal(sealing.jobCount, 2);
  });

  test('a datagram by what it costs: bytes that are authenticated only count in part, copying counts against it', () => {
    const threshold = { fromBytes: 1_000, associatedShare: 0.5, copyShare: 0.1 };
    const jobsFor = (controlOffset: number, controlBytes: number): [number, number] => {
      const sealing = workerSealing(pool, { threshold });
      const key = sealing.importKey(seededBytes(32, 1));
      const packet = bytesFor(sealing, controlOffset + controlBytes + 16);
      const control = bytesFor(sealing, controlBytes);
      sealing.submitSealDatagram(0, key, 1, packet, controlOffset, control, controlBytes);
      settleDatagrams(sealing, new Reports(), 1);
      const sealed = sealing.jobCount;
      sealing.submitOpenDatagram(0, key, 1, packet, controlOffset);
      settleDatagrams(sealing, new Reports(), 1);
      return [sealed, sealing.jobCount - sealed];
    };
    assert.deepEqual(jobsFor(1_600, 192), [0, 0], '992 bytes of work');
    assert.deepEqual(jobsFor(1_600, 200), [1, 0], '1,000 to seal, copying 1,816 bytes is too much to open it');
    assert.deepEqual(jobsFor(1_600, 500), [1, 1]);
  });

  test('what lies in memory that workers do not see is sealed in the loop, and opened by a worker from a copy', () => {
    const sealing = workerSealing(pool);
    const value = { ...sealableValue(sealing, seededBytes(50_000, 1), bytesOf('key')) };
    const envelope = allocateRegion(value.envelope.bytes.length);
    envelope.bytes.set(value.envelope.bytes);
    const unshared = { ...value, envelope };
    submitSeal(sealing, 0, unshared);
    while (sealing.pendingValueJobs > 0) sealing.drainValues(new Reports(sealing));
    assert.equal(sealing.jobCount, 0);
    assert.deepEqual(openValue(sealing, unshared), seededBytes(50_000, 1));
    assert.equal(sealing.jobCount, 1);
  });

  test('what finds no record or no room is done in the loop', () => {
    const sealing = workerSealing(pool);
    const count = JOB_COUNT + 10;
    const values = Array.from({ length: count }, (_, i) => sealableValue(sealing, seededBytes(100, i), bytesOf('key')));
    const reported = new Reports(sealing);
    values.forEach((value, i) => submitSeal(sealing, i, value));
    settleValues(sealing, reported, count);
    assert.equal(sealing.jobCount, JOB_COUNT);

    const large = Array.from({ length: 5 }, (_, i) => sealableValue(sealing, seededBytes(MIB, i), bytesOf('key')));
    const before = sealing.jobCount;
    large.forEach((value, i) => submitSeal(sealing, count + i, value));
    settleValues(sealing, reported, count + 5);
    assert.equal(sealing.jobCount - before, 3, 'three of a MiB and a tag fit into 4 MiB of staging');
    large.forEach((value, i) => assert.deepEqual(openValue(sealing, value), seededBytes(MIB, i)));
    pool.invariants();
  });

  test('jobs end out of order: a short one in the loop before a long one at a worker', () => {
    const sealing = workerSealing(pool, { threshold: { ...EVERYTHING, fromBytes: 1_000 } });
    const [long, short] = [MIB, 10].map((size, i) => sealableValue(sealing, seededBytes(size, i), bytesOf('key')));
    const reported = new Reports(sealing);
    submitSeal(sealing, 0, long!);
    submitSeal(sealing, 1, short!);
    settleValues(sealing, reported, 2);
    assert.deepEqual([...reported.seen], [1, 0]);
    assert.ok(long!.envelope.words[1]! < short!.envelope.words[1]!, 'nonces are given out in order');
    assert.deepEqual(openValue(sealing, long!), seededBytes(MIB, 0));
    assert.deepEqual(openValue(sealing, short!), seededBytes(10, 1));
  });

  test('who has jobs done is called when he does not ask', async () => {
    const sealing = workerSealing(pool);
    const reported = new Reports(sealing);
    const idle = workerSealing(pool);
    idle.onReadyToDrain = () => assert.fail('nothing of its own is done');
    for (let i = 0; i < 20; i++) {
      const called = new Promise<void>((resolve) => {
        sealing.onReadyToDrain = resolve;
      });
      submitSeal(sealing, i, sealableValue(sealing, seededBytes(1_000, 1), bytesOf('key')));
      await called;
      assert.equal(sealing.drainValues(reported), 1);
    }
  });

  test('an envelope whose tags do not fit is refused before anybody works on it, and nobody has to be woken', () => {
    const sealing = workerSealing(pool);
    const value = sealValue(sealing, seededBytes(40_000, 1), bytesOf('key'));
    const before = sealing.jobCount;
    submitOpen(sealing, 0, { ...value, tagWords: new Int32Array(4) });
    assert.equal(sealing.pendingValueJobs, 1);
    const reported = new Reports(sealing);
    assert.equal(sealing.drainValues(reported), 1);
    assert.equal(reported.opened.get(0), false);
    assert.equal(sealing.jobCount, before);
    pool.invariants();
  });

  test('a job that host memory changes under the hands of a worker gives its value or none', () => {
    const sealing = workerSealing(pool);
    const value = sealValue(sealing, seededBytes(MIB, 1), bytesOf('key'));
    let refusedCount = 0;
    for (let i = 0; i < 20; i++) {
      const reported = new Reports(sealing);
      submitOpen(sealing, 0, value);
      const at = value.envelopeBytes - 1 - i * 40_000;
      value.envelope.bytes[at]! ^= 1;
      for (let drains = 0; drains < 20; drains++) sealing.drainValues(reported);
      settleValues(sealing, reported, 1);
      value.envelope.bytes[at]! ^= 1;
      if (reported.opened.get(0) === true) assert.deepEqual(reported.values.get(0), seededBytes(MIB, 1));
      else refusedCount++;
    }
    assert.ok(refusedCount > 0, 'the worker met a change');
  });
});

describe('the end', () => {
  /** A clear text that can be looked for. */
  const SECRET = new Uint8Array(30_000).fill(0xa7);

  function holdsSecret(pool: WorkerPool): boolean {
    return Buffer.from(pool.memory.buffer).includes(Buffer.from(SECRET.subarray(0, 64)));
  }

  function holdsKey(pool: WorkerPool): boolean {
    for (let job = 0; job < JOB_COUNT; job++) if (pool.memory.key(job).some((byte) => byte !== 0)) return true;
    return false;
  }

  /** Opened values that nobody drains: keys and clear text lie in the shared memory. */
  function withJobsDone(pool: WorkerPool): WorkerSealing {
    const sealing = workerSealing(pool);
    const value = sealValue(sealing, SECRET, bytesOf('key'));
    for (let i = 0; i < 5; i++) submitOpen(sealing, i, value);
    while (doneCount(pool) < 6) letWorkersWork(sealing);
    return sealing;
  }

  function doneCount(pool: WorkerPool): number {
    let count = 0;
    for (let seat = 0; seat < pool.workerCount; seat++) count += pool.memory.done(seat);
    return count;
  }

  test('a sealing that closes leaves neither keys nor values in the memory it shared', async () => {
    const pool = await WorkerPool.start({ workerCount: 1 });
    const sealing = withJobsDone(pool);
    assert.ok(holdsSecret(pool) && holdsKey(pool));
    sealing.close();
    pool.poll();
    assert.ok(!holdsSecret(pool) && !holdsKey(pool));
    pool.invariants();
    const another = workerSealing(pool);
    assert.deepEqual(openValue(another, sealValue(another, SECRET, bytesOf('key'))), SECRET);
    await pool.close();
  });

  test('a pool that closes overwrites all it held', async () => {
    const pool = await WorkerPool.start({ workerCount: 2 });
    withJobsDone(pool);
    assert.ok(holdsSecret(pool) && holdsKey(pool));
    await pool.close();
    assert.ok(pool.memory.words.every((word) => word === 0));
  });

  test('a key that was erased stays until its jobs are done, and no longer', async () => {
    const pool = await WorkerPool.start({ workerCount: 1 });
    const keys = new KeyTable();
    const sealing = workerSealing(pool, { keys });
    const handle = sealing.importKey(seededBytes(32, 7));
    const [packet, control] = [bytesFor(sealing, 96), bytesFor(sealing, 8)];
    sealing.submitSealDatagram(0, handle, 1, packet, 64, control, 8);
    sealing.eraseKey(handle);
    while (pool.memory.state(JOB_COUNT - 1) !== JOB_DONE && pool.memory.state(0) !== JOB_DONE) letWorkersWork(sealing);
    settleDatagrams(sealing, new Reports(), 1);
    keys.invariants();
    assert.ok(!holdsKey(pool));
    await pool.close();
  });

  test('jobs under way are dropped, and everything ends', async () => {
    const pool = await WorkerPool.start({ workerCount: 2 });
    const sealing = workerSealing(pool);
    sealing.onReadyToDrain = () => assert.fail('nothing is reported after the end');
    for (let i = 0; i < 3; i++) {
      submitSeal(sealing, i, sealableValue(sealing, seededBytes(MIB, 1), bytesOf('key')));
    }
    sealing.close();
    await pool.close();
    assert.equal(sealing.drainValues(new Reports(sealing)), 0);
    assert.equal(pool.deathCount, 0);
  });

  test('a sink that closes the sealing while a value is reported is not told of more', async () => {
    const pool = await WorkerPool.start({ workerCount: 1 });
    const sealing = withJobsDone(pool);
    const reported: number[] = [];
    const sink = {
      onValueSealed() {},
      onValueOpened(token: number) {
        reported.push(token);
        sealing.close();
      },
    };
    assert.equal(sealing.drainValues(sink), 1);
    assert.equal(sealing.drainValues(sink), 0);
    assert.deepEqual(reported, [0]);
    pool.invariants();
    assert.ok(!holdsSecret(pool) && !holdsKey(pool));
    await pool.close();
  });

  test('workers that cannot start are an error, and nothing is left of them', async () => {
    const main = fileURLToPath(new URL(`./no-worker-here${extname(import.meta.url)}`, import.meta.url));
    await assert.rejects(WorkerPool.start({ workerCount: 2, main }), /2 cryptographic workers could not be started/);
  });
});

test('threads that are terminated in the middle of their work are replaced, and all of it is done', async () => {
  const threads = new Set<Worker>();
  const onWorker = (worker: Worker): void => {
    threads.add(worker);
    worker.once('exit', () => threads.delete(worker));
  };
  process.on('worker', onWorker);
  const pool = await WorkerPool.start({ workerCount: 2 });
  try {
    const sealing = workerSealing(pool);
    const inline = createInlineSealing({ mode: 'secure', dataKeys });
    let nextToken = 0;
    for (let round = 0; round < 5; round++) {
      await until('all run', () => pool.runningCount === 2);
      const values = Array.from({ length: 12 }, (_, i) =>
        sealableValue(sealing, seededBytes(200_000, round * 12 + i), bytesOf('key')),
      );
      const reported = new Reports(sealing);
      let isCalled = false;
      sealing.onReadyToDrain = () => {
        isCalled = true;
      };
      const doneBefore = [0, 1].map((seat) => pool.memory.done(seat));
      values.forEach((value) => submitSeal(sealing, nextToken++, value));
      // In every other round each thread has done a job (one that never gets so far is given up in the end), one is under
      // way in each, the others wait.
      const hasWorked = (before: number, seat: number): boolean => pool.memory.done(seat) !== before;
      const deadlineMs = performance.now() + WAIT_MS_MAX;
      while (round % 2 === 1 && !doneBefore.every(hasWorked)) {
        assert.ok(performance.now() < deadlineMs, 'each thread works');
        letWorkersWork(sealing);
      }
      for (const thread of threads) void thread.terminate();
      await until('all is done', () => {
        // Asked only when told to: else a job that nobody tells of would not be missed.
        if (isCalled) sealing.drainValues(reported);
        isCalled = false;
        return reported.seen.size === values.length;
      });
      values.forEach((value, i) => assert.deepEqual(openValue(inline, value), seededBytes(200_000, round * 12 + i)));
    }
    assert.ok(pool.deathCount >= 5, `${pool.deathCount} deaths`);
    pool.invariants();
  } finally {
    process.off('worker', onWorker);
    await pool.close();
  }
});

test('the threshold is measured: more than nothing, in whole KiB', async () => {
  const pool = await WorkerPool.start({ workerCount: 1 });
  const { fromBytes, associatedShare, copyShare } = await calibrate(pool);
  pool.invariants();
  await pool.close();
  assert.ok(fromBytes >= 1_024 && fromBytes % 1_024 === 0, `${fromBytes} bytes`);
  assert.ok(associatedShare > 0 && associatedShare < 1, `an associated byte costs ${associatedShare}`);
  assert.ok(copyShare > 0 && copyShare < 1, `a copied byte costs ${copyShare}`);
});

describe('sealings of a process', () => {
  test('those with equally many workers share a pool, until the last closes', async () => {
    const options = { mode: 'secure', dataKeys, workers: 1 } as const;
    const [first, second] = await Promise.all([openProcessSealing(options), openProcessSealing(options)]);
    assert.equal(first.figures()!.fromBytes, second.figures()!.fromBytes);
    await first.close();
    const value = sealValue(second.sealing, seededBytes(100, 1), bytesOf('key'));
    assert.deepEqual(openValue(second.sealing, value), seededBytes(100, 1));
    await second.close();
    const third = await openProcessSealing({ ...options, workersFromBytes: 5 });
    assert.deepEqual(third.figures(), { workers: 1, fromBytes: 5, jobs: 0, deaths: 0 });
    await third.close();
  });

  test('without workers, and in plaintext, there are none', async () => {
    for (const options of [{ mode: 'secure', workers: 0 } as const, { mode: 'plaintext', workers: 2 } as const]) {
      const sealing = await openProcessSealing({ ...options, dataKeys });
      assert.equal(sealing.figures(), undefined);
      assert.equal(sealing.trustedBytes, 0);
      await sealing.close();
    }
  });
});
