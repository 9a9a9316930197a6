import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'avocado-kv';
import type { Client } from 'avocado-kv';
import { lost, unchanged } from '../../bench/attack/hostile-proxy.ts';
import { regionOf } from '../../net/bytes.ts';
import { readValueBytes } from '../../net/wire.ts';
import { startEmbeddedCluster } from '../../src/server/embedded-cluster.ts';
import { isData } from '../processes/hostile-datagrams.ts';
import { proxyCluster } from '../processes/proxied-cluster.ts';
import { until } from '../processes/until.ts';

/**
 * How operations end that can't be finished: deadline, abort, close. The network between client and cluster is cut by
 * proxies, wholly or for values only, so that a put stands before or after the point from which nobody knows.
 */
const cluster = await startEmbeddedCluster({ mode: 'secure' });
const network = await proxyCluster(cluster);
const clients: Client[] = [];
afterEach(async () => {
  mendNetwork();
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
after(async () => {
  await network.close();
  await cluster.stop();
});

const SHORT_MS = 200;
const LONG_MS = 20_000;

async function open(options: { concurrency?: number; queueLimit?: number; deadlineMs?: number } = {}): Promise<Client> {
  const client = await connect({ cluster: network.directory, deadlineMs: LONG_MS, ...options });
  clients.push(client);
  return client;
}

function cutNetwork(): void {
  for (const proxy of network.proxies) proxy.toReplica = lost;
}

function mendNetwork(): void {
  for (const proxy of network.proxies) proxy.toReplica = unchanged;
}

/** Lets everything pass but values: a put gets its stamp and sends its WRITE in vain. Counts the WRITEs. */
function cutValues(): { lost: number } {
  const count = { lost: 0 };
  for (const proxy of network.proxies) {
    proxy.toReplica = (datagram) => {
      if (!isData(datagram) || readValueBytes(regionOf(datagram.buffer).words) === 0) return [datagram];
      count.lost++;
      return [];
    };
  }
  return count;
}

test('the deadline of an operation, of the client, and of neither', async () => {
  const client = await open({ deadlineMs: SHORT_MS });
  await client.put('deadline', 'before');
  cutNetwork();
  const expected = { name: 'AvocadoError', code: 'DEADLINE_EXCEEDED' };
  await assert.rejects(client.get('deadline'), { ...expected, message: /^get: .*no effect/ });
  await assert.rejects(client.put('deadline', 'x'), { ...expected, message: /^put: .*no effect/ });
  await assert.rejects(client.delete('deadline'), { ...expected, message: /^delete: .*no effect/ });
  await assert.rejects(client.get('deadline', { deadlineMs: 1 }), expected);
  const patient = client.get('deadline', { deadlineMs: LONG_MS });
  mendNetwork();
  assert.equal((await patient)?.toString(), 'before');
});

/** What an operation before has sent last may still be on its way: until nothing has been lost for a while. */
async function nothingUnderWay(values: { readonly lost: number }): Promise<void> {
  for (let before = -1; before !== values.lost; ) {
    before = values.lost;
    await sleep(50);
  }
}

test('a put that was sent and not acknowledged in time may or may not have taken effect', async () => {
  const client = await open();
  await client.put('sent', 'before');
  const values = cutValues();
  const expected = { code: 'OUTCOME_UNKNOWN', message: /may or may not take effect/ };
  await assert.rejects(client.put('sent', 'after', { deadlineMs: 1_000 }), expected);
  assert(values.lost > 0);

  await nothingUnderWay(values);
  const controller = new AbortController();
  const lostBefore = values.lost;
  const aborted = assert.rejects(client.put('sent', 'after', { signal: controller.signal }), expected);
  await until(() => values.lost > lostBefore, 'the WRITE to be sent');
  controller.abort();
  await aborted;

  await nothingUnderWay(values);
  const lostSoFar = values.lost;
  const closed = assert.rejects(client.put('sent', 'after'), expected);
  await until(() => values.lost > lostSoFar, 'the WRITE to be sent');
  await client.close();
  await closed;
});

test('aborted before it began, while it waits, and in flight', async () => {
  const client = await open({ concurrency: 1 });
  await client.put('abort', 'before');
  const expected = { name: 'AvocadoError', code: 'ABORTED', message: /no effect/ };
  await assert.rejects(client.get('abort', { signal: AbortSignal.abort() }), expected);
  await assert.rejects(client.put('abort', 'x', { signal: AbortSignal.abort() }), expected);

  cutNetwork();
  const inFlight = new AbortController();
  const waiting = new AbortController();
  const first = assert.rejects(client.put('abort', 'x', { signal: inFlight.signal }), expected);
  const second = assert.rejects(client.get('abort', { signal: waiting.signal }), expected);
  const third = client.get('abort');
  waiting.abort();
  await second;
  inFlight.abort();
  await first;
  mendNetwork();
  assert.equal((await third)?.toString(), 'before', 'the others go on');
  assert.equal(getEventListeners(inFlight.signal, 'abort').length, 0);
  assert.equal(getEventListeners(waiting.signal, 'abort').length, 0);

  const unused = new AbortController();
  await client.getMany(['abort', 'abort', 'abort'], { signal: unused.signal });
  assert.equal(getEventListeners(unused.signal, 'abort').length, 0, 'a signal may outlive many operations');
  unused.abort();
});

test('what waits for a place has its deadline, too', async () => {
  const client = await open({ concurrency: 1 });
  cutNetwork();
  const inFlight = client.get('queued');
  await assert.rejects(client.put('queued', 'x', { deadlineMs: SHORT_MS }), { code: 'DEADLINE_EXCEEDED' });
  mendNetwork();
  assert.equal(await inFlight, undefined);
  assert.equal(await client.get('queued'), undefined, 'it had no effect');
});

test('more than the queue holds is refused at once, and the rest is served in order', async () => {
  const client = await open({ concurrency: 2, queueLimit: 3 });
  const order: number[] = [];
  const puts = [0, 1, 2, 3, 4].map((i) => client.put('queue', `value ${i}`).then(() => order.push(i)));
  for (const refused of [client.get('queue'), client.put('queue', 'x'), client.delete('queue')]) {
    await assert.rejects(refused, { code: 'QUEUE_FULL', message: /3 operations wait already/ });
  }
  await Promise.all(puts);
  assert.equal(order.length, 5);
  assert(order.indexOf(4) >= 3, 'the one that came last had to wait for all but one of the others');
  assert.notEqual(await client.get('queue'), undefined, 'there is room again');
});

test('close settles everything: what flies, what waits, what comes later', async () => {
  const client = await open({ concurrency: 4, queueLimit: 100 });
  await client.put('close', 'before');
  cutNetwork();
  const expected = { name: 'AvocadoError', code: 'CLOSED' };
  const unsettled = [
    ...Array.from({ length: 4 }, (_, i) => client.put(`close ${i}`, 'x')),
    ...Array.from({ length: 50 }, () => client.get('close')),
  ].map((promise) => assert.rejects(promise, expected));
  await Promise.all([client.close(), client.close()]);
  await Promise.all(unsettled);
  await assert.rejects(client.get('close'), { ...expected, message: /^get: the client is closed/ });
  await assert.rejects(client.put('close', 'x'), expected);
  await assert.rejects(client.deleteMany(['close']), expected);
  await client.close();
});
