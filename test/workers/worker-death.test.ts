/**
 * Workers that die at each step of a job: every job is still done once, as if nothing had happened. The nonces are those
 * that were given out, and of each there is one ciphertext: what an inline sealing with the same salt makes.
 */
import assert from 'node:assert/strict';
import { extname } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import type { KeyRegistry, Sealing } from '../../workers/sealing.ts';
import { WorkerPool } from '../../workers/worker-pool.ts';
import { DEATHS } from './dying-worker.ts';
import type { Death } from './dying-worker.ts';
import { seededBytes } from './random.ts';
import { bytesFor, bytesOf, openValue, Reports, sealableValue, submitOpen, submitSeal } from './sealing-driver.ts';
import type { PlacedValue } from './sealing-driver.ts';
import { dataKeys, workerSealing } from './worker-fixture.ts';

const salt = seededBytes(16, 3);
const MAIN = fileURLToPath(new URL(`./dying-worker${extname(import.meta.url)}`, import.meta.url));
const WAIT_MS_MAX = 20_000;

async function poolThatDies(death: Death, throws: boolean, inJob = 3): Promise<WorkerPool> {
  process.env['DYING_WORKER_JOB'] = String(inJob);
  process.env['DYING_WORKER'] = death;
  process.env['DYING_WORKER_THROWS'] = throws ? '1' : '0';
  return await WorkerPool.start({ workerCount: 2, main: MAIN });
}

/** Until everything is reported: the loop has to turn, or nobody notices that a thread is gone. */
async function settle(sealing: Sealing, reported: Reports, jobCount: number): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (reported.seen.size < jobCount) {
    sealing.drainDatagrams(reported);
    sealing.drainValues(reported);
    assert.ok(performance.now() < deadlineMs, `${reported.seen.size} of ${jobCount} jobs are done`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Those that died are replaced. */
async function allRunning(pool: WorkerPool): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (pool.runningCount < pool.workerCount) {
    assert.ok(performance.now() < deadlineMs, `${pool.runningCount} of ${pool.workerCount} workers run`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Of a few chunks, of one piece, and empty. */
const VALUE_BYTES = [40_000, 100, 16_384, 0, 20_000, 1_000];

function values(sealing: Sealing): PlacedValue[] {
  return VALUE_BYTES.map((valueBytes, i) => sealableValue(sealing, seededBytes(valueBytes, i), bytesOf(`key ${i}`)));
}

interface SealedDatagram {
  readonly packet: Uint8Array;
  readonly offset: number;
}

function submitDatagrams(sealing: Sealing & KeyRegistry, firstToken: number): SealedDatagram[] {
  const key = sealing.importKey(seededBytes(32, 5));
  return [0, 1, 2, 3].map((number) => {
    const offset = 16 + 800 * number;
    const packet = bytesFor(sealing, offset + 64 + 16);
    packet.set(seededBytes(offset, number));
    const control = bytesFor(sealing, 64);
    control.set(seededBytes(64, number + 10));
    sealing.submitSealDatagram(firstToken + number, key, number, packet, offset, control, 64);
    return { packet, offset };
  });
}

interface Sealed {
  readonly values: PlacedValue[];
  readonly datagrams: SealedDatagram[];
}

async function sealAll(sealing: Sealing & KeyRegistry): Promise<Sealed> {
  const reported = new Reports(sealing);
  const sealed = values(sealing);
  sealed.forEach((value, i) => submitSeal(sealing, i, value));
  const datagrams = submitDatagrams(sealing, sealed.length);
  await settle(sealing, reported, sealed.length + datagrams.length);
  return { values: sealed, datagrams };
}

async function openAll(sealing: Sealing & KeyRegistry, sealed: Sealed): Promise<Uint8Array[]> {
  const reported = new Reports(sealing);
  const key = sealing.importKey(seededBytes(32, 5));
  sealed.values.forEach((value, i) => submitOpen(sealing, i, value));
  // As they come from a socket: in memory that workers don't see.
  const received = sealed.datagrams.map(({ packet }) => packet.slice());
  received.forEach((packet, i) => {
    sealing.submitOpenDatagram(sealed.values.length + i, key, i, packet, sealed.datagrams[i]!.offset);
  });
  await settle(sealing, reported, sealed.values.length + received.length);
  assert.ok([...reported.opened.values()].every((opened) => opened));
  return [...sealed.values.map((_, i) => reported.values.get(i)!), ...received];
}

function bytesOfSealed(sealed: Sealed): Uint8Array[] {
  return [
    ...sealed.values.map(({ envelope, envelopeBytes }) => envelope.bytes.slice(0, envelopeBytes)),
    ...sealed.values.map(({ tagWords }) => Uint8Array.from(new Uint8Array(tagWords.buffer))),
    ...sealed.datagrams.map(({ packet }) => Uint8Array.from(packet)),
  ];
}

describe('a worker dies', () => {
  for (const [i, death] of DEATHS.entries()) {
    // Each way of dying costs the test a few threads: every other death has one of them, that of most interest both.
    for (const throws of death === 'behind the commit' ? [true, false] : [i % 2 === 0]) {
      test(`${death}, ${throws ? 'by throwing' : 'with its thread'}: nothing is lost or done otherwise`, async () => {
        const inline = createInlineSealing({ mode: 'secure', dataKeys, randomBytes: () => salt });
        const expectedSealed = await sealAll(inline);
        const expectedOpened = await openAll(inline, expectedSealed);
        const pool = await poolThatDies(death, throws);
        try {
          const sealing = workerSealing(pool, { randomBytes: () => salt });
          const sealed = await sealAll(sealing);
          assert.deepEqual(bytesOfSealed(sealed), bytesOfSealed(expectedSealed));
          await allRunning(pool);
          assert.deepEqual(await openAll(sealing, sealed), expectedOpened);
          assert.ok(pool.deathCount >= 4, `${pool.deathCount} deaths`);
          assert.equal(sealing.jobCount, 2 * (VALUE_BYTES.length + 4), 'all of it was handed over');
          pool.invariants();
        } finally {
          await pool.close();
        }
      });
    }
  }
});

test('workers that die whenever they have something to do are given up: nothing is lost, the rest is done in the loop', async () => {
  const pool = await poolThatDies('before', true, 1);
  try {
    const sealing = workerSealing(pool);
    const inline = createInlineSealing({ mode: 'secure', dataKeys });
    // Asked only when told to: else a job that nobody tells of would not be missed.
    let isCalled = false;
    sealing.onReadyToDrain = () => {
      isCalled = true;
    };
    const reported = new Reports(sealing);
    const sealAndWait = async (token: number): Promise<void> => {
      const value = sealableValue(sealing, seededBytes(20_000, token), bytesOf('key'));
      submitSeal(sealing, token, value);
      const deadlineMs = performance.now() + WAIT_MS_MAX;
      while (!reported.seen.has(token)) {
        assert.ok(performance.now() < deadlineMs, `job ${token} is done`);
        if (isCalled || sealing.pendingValueJobs > 0) sealing.drainValues(reported);
        isCalled = false;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      assert.deepEqual(openValue(inline, value), seededBytes(20_000, token));
    };
    const deathsMax = 2 * 3;
    let token = 0;
    const deadlineMs = performance.now() + WAIT_MS_MAX;
    for (; pool.deathCount < deathsMax; token++) {
      assert.ok(performance.now() < deadlineMs, `${pool.deathCount} deaths`);
      await sealAndWait(token);
    }
    assert.equal(sealing.jobCount, deathsMax);
    await sealAndWait(token);
    assert.equal(pool.runningCount, 0);
    assert.equal(sealing.jobCount, deathsMax, 'nothing is handed over any more');
    pool.invariants();
  } finally {
    await pool.close();
  }
});
