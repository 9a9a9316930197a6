/** What the read-modify-writes of the library give back and refuse; without a cluster, so that others come in between when the test wants. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Expected } from 'avocado-kv';
import { Calls } from '../../src/client/calls.ts';
import { Client } from '../../src/client/client.ts';
import { stampOf, versionOf } from '../../src/client/version.ts';
import { STAMP_COUNTER_MAX } from '../../src/stamp.ts';
import { FakeEngine } from './fake-engine.ts';

const DEADLINE_MS = 5_000;

function open(): { engine: FakeEngine; client: Client } {
  const engine = new FakeEngine();
  const calls = new Calls();
  engine.connect(calls);
  calls.attach(engine, 100);
  return { engine, client: new Client(engine, calls, DEADLINE_MS, 'direct') };
}

/** What a caller without types can do. */
const wrong = (value: unknown): never => value as never;

test('a value comes with a version, and so does its absence', async () => {
  const { client, engine } = open();
  const never = await client.getWithVersion('key');
  assert.equal(never.value, undefined);
  engine.set('key', 'first');
  const first = await client.getWithVersion('key');
  assert.deepEqual(first.value, Buffer.from('first'));
  engine.set('key', 'first');
  const second = await client.getWithVersion('key');
  assert.notEqual(second.version, first.version, 'an equal value that came later is another state');
  assert.equal((await client.getWithVersion('key')).version, second.version);
  assert.equal((await client.getWithVersion('other')).version, never.version);
});

test('compareAndSet: by value, by version, by absence; what was found when it did not hold', async () => {
  const { client } = open();
  const set = await client.compareAndSet('key', { absent: true }, 'one');
  assert(set.ok);
  assert.deepEqual(await client.compareAndSet('key', { absent: true }, 'two'), {
    ok: false,
    value: Buffer.from('one'),
    version: set.version,
  });
  assert.equal((await client.compareAndSet('key', { value: 'on' }, 'two')).ok, false);
  const two = await client.compareAndSet('key', { value: Buffer.from('one') }, Buffer.from('two'));
  assert(two.ok && two.version !== set.version);
  assert.equal((await client.compareAndSet('key', { version: set.version }, 'three')).ok, false);
  assert.equal((await client.compareAndSet('key', { version: two.version }, 'three')).ok, true);
  await client.delete('key');
  const absent = await client.compareAndSet('key', { value: 'three' }, 'four');
  assert(!absent.ok && absent.value === undefined);
  assert.equal((await client.compareAndSet('key', { version: absent.version }, '')).ok, true);
  const empty = await client.compareAndSet('key', { absent: true }, 'x');
  assert(!empty.ok && empty.value?.length === 0, 'the empty value is there');
});

test('putIfAbsent, deleteIf, getAndSet, increment', async () => {
  const { client } = open();
  assert.equal((await client.putIfAbsent('key', 'one')).ok, true);
  const second = await client.putIfAbsent('key', 'two');
  assert(!second.ok && String(second.value) === 'one');
  assert.equal((await client.deleteIf('key', { value: 'two' })).ok, false);
  assert.equal((await client.deleteIf('key', { version: second.version })).ok, true);
  assert.equal(await client.get('key'), undefined);
  assert.equal(await client.getAndSet('key', 'three'), undefined);
  assert.deepEqual(await client.getAndSet('key', ''), Buffer.from('three'));
  assert.deepEqual(await client.getAndSet('key', 'x'), Buffer.alloc(0));
  assert.equal(await client.increment('n'), 1n);
  assert.equal(await client.increment('n', 41), 42n);
  assert.equal(await client.increment('n', -(2n ** 62n)), 42n - 2n ** 62n);
  assert.equal(String(await client.get('n')), String(42n - 2n ** 62n));
});

test('values are the caller’s and the library’s own, also while a call waits for its place', async () => {
  const { client, engine } = open();
  const value = Buffer.from('new value');
  const expected = Buffer.from('old value');
  engine.set('key', 'old value');
  const many = Array.from({ length: engine.capacity }, () => client.get('other'));
  const waiting = client.compareAndSet('key', { value: expected }, value);
  value.fill(0);
  expected.fill(0);
  assert.equal((await waiting).ok, true);
  await Promise.all(many);
  assert.equal(String(await client.get('key')), 'new value');
});

test('arguments of the wrong kind, and nothing is sent', async () => {
  const { client, engine } = open();
  const { version } = await client.getWithVersion('key');
  const started = engine.started.length;
  const expected = { name: 'AvocadoError', code: 'INVALID_ARGUMENT' };
  for (const condition of [
    wrong(undefined),
    wrong(null),
    wrong('text'),
    {},
    wrong({ value: 'a', version }),
    wrong({ absent: false }),
    wrong({ absent: true, value: 'a' }),
    wrong({ value: 7 }),
    wrong({ version: 7 }),
    { version: '' },
    { version: version.slice(1) },
    { version: `${version}A` },
    { version: `${version.slice(1)}=` },
    { version: '_'.repeat(27) },
    // The last character has bits that mean nothing.
    { version: `${version.slice(0, -1)}B` },
  ] as Expected[]) {
    await assert.rejects(client.compareAndSet('key', condition, 'x'), expected, JSON.stringify(condition));
    await assert.rejects(client.deleteIf('key', condition), expected);
  }
  await assert.rejects(client.deleteIf('key', { absent: true }), { ...expected, message: /absent can’t be deleted/ });
  for (const value of [undefined, 7, null]) {
    await assert.rejects(client.compareAndSet('key', { version }, wrong(value)), expected);
    await assert.rejects(client.putIfAbsent('key', wrong(value)), expected);
    await assert.rejects(client.getAndSet('key', wrong(value)), expected);
  }
  for (const delta of [1.5, 2 ** 53, Number.NaN, 2n ** 63n, -(2n ** 63n) - 1n, wrong('1'), wrong(null)]) {
    await assert.rejects(client.increment('key', delta), { ...expected, message: /^delta is / });
  }
  for (const attempts of [0, -1, 1.5, Number.NaN]) {
    await assert.rejects(
      client.update('key', () => 'x', { attempts }),
      { ...expected, message: /^attempts is / },
    );
  }
  await assert.rejects(
    client.update('', () => 'x'),
    { code: 'INVALID_KEY' },
  );
  await assert.rejects(client.increment('k'.repeat(1_025)), { code: 'INVALID_KEY' });
  await assert.rejects(client.getWithVersion('key', { deadlineMs: 0 }), expected);
  engine.rmwBytes = 24;
  const tooLarge = { code: 'VALUE_TOO_LARGE', message: /at most 24 bytes, this one 32/ };
  await assert.rejects(client.compareAndSet('key', { value: 'nine byte' }, 'nine more'), tooLarge);
  await assert.rejects(client.getAndSet('key', 'x'.repeat(25)), tooLarge);
  assert.equal(engine.started.length, started);
});

test('how one fails: what it was, whether it had an effect, a stable code', async () => {
  const { client, engine } = open();
  for (const [outcome, code, message] of [
    ['not-an-integer', 'NOT_AN_INTEGER', /^increment: .*no effect/],
    ['overflow', 'OVERFLOW', /^increment: .*no effect/],
    ['outcome-unknown', 'OUTCOME_UNKNOWN', /^increment: .*may or may not/],
    ['deadline', 'DEADLINE_EXCEEDED', /^increment: .*no effect/],
    ['aborted', 'ABORTED', /^increment: .*no effect/],
    ['value-too-large', 'VALUE_TOO_LARGE', /^increment: .*one datagram/],
    ['done-too-large', 'VALUE_TOO_LARGE', /^increment: it took effect/],
  ] as const) {
    engine.nextOutcome = outcome;
    await assert.rejects(client.increment('key'), { name: 'AvocadoError', code, message });
  }
  await assert.rejects(client.putIfAbsent('key', 'x', { signal: AbortSignal.abort() }), {
    code: 'ABORTED',
    message: /^putIfAbsent: /,
  });
});

test('update: the function sees the present value and makes the next one', async () => {
  const { client, engine } = open();
  const seen: (string | undefined)[] = [];
  const append = (current: Buffer | undefined): string => {
    seen.push(current?.toString());
    return `${String(current ?? '')}x`;
  };
  assert.deepEqual((await client.update('key', append)).value, Buffer.from('x'));
  const second = await client.update('key', async (current) => Buffer.from(append(current)));
  assert.equal(String(second.value), 'xx');
  assert.equal(second.version, (await client.getWithVersion('key')).version);
  const removed = await client.update('key', () => undefined);
  assert.equal(removed.value, undefined);
  assert.equal(await client.get('key'), undefined);
  assert.deepEqual(seen, [undefined, 'x']);
  const started = engine.started.length;
  assert.equal((await client.update('key', () => undefined)).version, removed.version, 'nothing to remove');
  engine.set('key', 'same');
  const same = await client.update('key', (current) => current);
  assert.equal((await client.update('key', () => 'same')).version, same.version, 'an equal value changes nothing');
  assert.deepEqual(engine.started.slice(started), ['get key', 'get key', 'get key']);
  await client.update('key', (current) => {
    current!.write('SA');
    return current;
  });
  assert.equal(String(await client.get('key')), 'SAme', 'it may change what it was given');
});

test('update: when others come in between it runs again, on what they left, without another get', async () => {
  const { client, engine } = open();
  let interruptions = 3;
  engine.before = () => {
    if (engine.started.at(-1) === 'rmw key' && interruptions-- > 0) engine.set('key', `by another ${interruptions}`);
  };
  const seen: (string | undefined)[] = [];
  const { value } = await client.update('key', (current) => {
    seen.push(current?.toString());
    return `${String(current ?? '')}, changed`;
  });
  assert.deepEqual(seen, [undefined, 'by another 2', 'by another 1', 'by another 0']);
  assert.equal(String(value), 'by another 0, changed');
  assert.deepEqual(engine.started, ['get key', 'rmw key', 'rmw key', 'rmw key', 'rmw key']);
});

test('update: it gives up after so many attempts, without effect', async () => {
  const { client, engine } = open();
  engine.before = () => engine.set('key', 'by another');
  let runs = 0;
  const change = (): string => `attempt ${++runs}`;
  const contended = { name: 'AvocadoError', code: 'CONTENDED', message: /each of 3 attempts; it had no effect/ };
  await assert.rejects(client.update('key', change, { attempts: 3 }), contended);
  assert.equal(runs, 3);
  assert.equal(String(await client.get('key')), 'by another');
  await assert.rejects(
    client.update('key', () => undefined, { attempts: 1 }),
    { code: 'CONTENDED' },
  );
});

test('update: what the function throws, a deadline for all of it, an abort, an outcome that nobody knows', async () => {
  const { client, engine } = open();
  await assert.rejects(
    client.update('key', () => {
      throw new TypeError('of the caller');
    }),
    TypeError,
  );
  engine.nextOutcome = 'outcome-unknown';
  await assert.rejects(
    client.update('key', () => 'x'),
    { code: 'OUTCOME_UNKNOWN' },
  );
  assert.equal(engine.started.filter((what) => what === 'rmw key').length, 1, 'it is not tried again');
  engine.before = () => engine.set('key', String(Math.random()));
  const controller = new AbortController();
  const aborted = client.update('key', () => 'x', { attempts: 1e9, signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(aborted, { code: 'ABORTED' });
  engine.deadlines.length = 0;
  await assert.rejects(
    client.update('key', () => 'x', { attempts: 4, deadlineMs: 1_000 }),
    { code: 'CONTENDED' },
  );
  assert.equal(engine.deadlines.length, 5);
  assert(engine.deadlines.every((ms, i) => ms > 0 && ms <= (engine.deadlines[i - 1] ?? 1_000)));
});

test('update: an update that has used up its time ends as its operation does', async () => {
  const { client } = open();
  const slow = (): Promise<string> => new Promise((resolve) => setTimeout(() => resolve('x'), 30));
  const expected = { name: 'AvocadoError', code: 'DEADLINE_EXCEEDED', message: /no effect/ };
  await assert.rejects(client.update('key', slow, { deadlineMs: 10 }), expected);
  assert.equal(await client.get('key'), undefined);
});

test('update: a function that never ends is waited for no longer than the update may take', async () => {
  const { client, engine } = open();
  const never = (): Promise<string> => new Promise(() => {});
  const late = { code: 'DEADLINE_EXCEEDED', message: /making the new value took until the deadline; it had no effect/ };
  await assert.rejects(client.update('key', never, { deadlineMs: 20 }), late);
  const controller = new AbortController();
  const aborted = client.update('key', never, { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(aborted, { code: 'ABORTED' });
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  const failing = (): Promise<string> =>
    new Promise((_resolve, reject) => setTimeout(() => reject(new Error('late')), 40));
  await assert.rejects(client.update('key', failing, { deadlineMs: 10 }), late);
  assert.deepEqual(engine.started, ['get key', 'get key', 'get key']);
  assert.equal(String((await client.update('key', async () => 'x', { deadlineMs: 2 ** 40 })).value), 'x');
});

test('a call whose time is over is not begun: whatever it is, it had no effect', async () => {
  const { client, engine } = open();
  const update = client.update(
    'key',
    () => {
      // It does not give way, so no timer has its turn.
      const endMs = performance.now() + 20;
      while (performance.now() < endMs);
      return 'x';
    },
    { deadlineMs: 10 },
  );
  await assert.rejects(update, { code: 'DEADLINE_EXCEEDED', message: /no effect/ });
  assert.deepEqual(engine.started, ['get key']);
});

test('a version is the stamp, whatever it is', () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const stamp = fc.record(
    {
      counter: fc.oneof(fc.nat(), fc.integer({ min: 0, max: STAMP_COUNTER_MAX })),
      writerHigh: word,
      writerLow: word,
      rmw: word,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(stamp, stamp, (a, b) => {
      assert.deepEqual(stampOf(versionOf(a)), a);
      assert.match(versionOf(a), /^[\w-]{27}$/);
      const same = Object.entries(a).every(([field, value]) => b[field as keyof typeof b] === value);
      assert.equal(versionOf(a) === versionOf(b), same);
    }),
  );
});
