import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FaultRunner } from '../../bench/chaos/fault-runner.ts';
import type { World } from '../../bench/chaos/fault-runner.ts';
import { describeVictim } from '../../bench/chaos/faults.ts';
import type { Fault, NetworkFault, StopFault } from '../../bench/chaos/faults.ts';
import { CALM } from '../../bench/chaos/faulty-channel.ts';
import type { Conditions } from '../../bench/chaos/faulty-channel.ts';

/** A world that writes down what is done to it. */
class RecordedWorld implements World {
  readonly done: string[] = [];
  readonly conditions = new Map<string, Conditions>();

  signal(victim: Parameters<World['signal']>[0], name: NodeJS.Signals): boolean {
    this.done.push(`${name} ${describeVictim(victim)}`);
    return true;
  }

  restart(replica: number, whenStarted: () => void): void {
    this.done.push(`restart replica ${replica}`);
    whenStarted();
  }

  setConditions(replica: number, direction: string, conditions: Conditions): void {
    this.conditions.set(`${replica} ${direction}`, conditions);
  }

  isCalm(): boolean {
    return [...this.conditions.values()].every((conditions) => conditions === CALM);
  }
}

function started(context: TestContext, plan: readonly Fault[]) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const world = new RecordedWorld();
  const told: string[] = [];
  const runner = new FaultRunner(plan, world, (text) => told.push(text));
  const state = { isOver: false };
  void runner.run().then(() => (state.isOver = true));
  const advance = async (ms: number): Promise<void> => {
    // One by one, so that what a timer starts counts from its own time.
    for (let i = 0; i < ms; i++) context.mock.timers.tick(1);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { world, told, runner, state, advance };
}

function stop(atMs: number, untilMs: number, ...replicas: number[]): StopFault {
  return { kind: 'stop', atMs, untilMs, victims: replicas.map((index) => ({ role: 'replica', index })) };
}

function spoil(kind: NetworkFault['kind'], atMs: number, untilMs: number, share: number, delayMs = 0): NetworkFault {
  return { kind, atMs, untilMs, replica: 1, directions: ['in'], share, delayMs };
}

test('what is stopped goes on, and not before the last stop that holds it is over', async (context) => {
  const { world, state, advance } = started(context, [stop(10, 100, 0, 1), stop(50, 200, 1)]);
  await advance(60);
  assert.deepEqual(world.done.splice(0), ['SIGSTOP replica 0', 'SIGSTOP replica 1', 'SIGSTOP replica 1']);
  await advance(60);
  assert.deepEqual(world.done.splice(0), ['SIGCONT replica 0']);
  assert.equal(state.isOver, false);
  await advance(100);
  assert.deepEqual(world.done, ['SIGCONT replica 1']);
  assert.equal(state.isOver, true);
});

test('the dead get no signals; once started again they can be stopped', async (context) => {
  const kill: Fault = { kind: 'kill', atMs: 20, replica: 1, restartAtMs: 300 };
  const { world, runner, told, advance } = started(context, [
    stop(10, 100, 1),
    kill,
    stop(150, 250, 1),
    stop(400, 500, 1),
  ]);
  await advance(299);
  assert.deepEqual(world.done.splice(0), ['SIGSTOP replica 1', 'SIGKILL replica 1']);
  await advance(300);
  assert.deepEqual(world.done, ['restart replica 1', 'SIGSTOP replica 1', 'SIGCONT replica 1']);
  assert.deepEqual(runner.counts, { stop: 2, kill: 1 }, 'the stop that met nobody does not count');
  assert.equal(told.length, 4);
});

test('episodes of one link add up while they overlap, and leave it calm', async (context) => {
  const { world, state, advance } = started(context, [
    spoil('loss', 0, 100, 0.5),
    spoil('loss', 50, 150, 0.5),
    spoil('delay', 50, 200, 1, 30),
    spoil('corrupt', 50, 200, 0.25),
  ]);
  await advance(10);
  assert.deepEqual(world.conditions.get('1 in'), { ...CALM, loss: 0.5 });
  await advance(50);
  assert.deepEqual(world.conditions.get('1 in'), { ...CALM, loss: 0.75, delayMs: 30, corrupt: 0.25 });
  await advance(60);
  assert.deepEqual(world.conditions.get('1 in'), { ...CALM, loss: 0.5, delayMs: 30, corrupt: 0.25 });
  await advance(100);
  assert(world.isCalm() && state.isOver);
  assert.deepEqual([...world.conditions.keys()], ['1 in'], 'no other link was touched');
});

test('a partition is a loss of all', async (context) => {
  const { world, advance } = started(context, [spoil('loss', 0, 100, 0.5), spoil('partition', 0, 100, 1)]);
  await advance(10);
  assert.equal(world.conditions.get('1 in')?.loss, 1);
});

test('an early end undoes what lasts, and nothing happens after it', async (context) => {
  const kill: Fault = { kind: 'kill', atMs: 500, replica: 2, restartAtMs: 600 };
  const { world, runner, state, advance } = started(context, [stop(10, 400, 0), spoil('loss', 20, 400, 1), kill]);
  await advance(50);
  runner.end();
  await advance(0);
  assert.deepEqual(world.done, ['SIGSTOP replica 0', 'SIGCONT replica 0']);
  assert(world.isCalm() && state.isOver);
  await advance(1_000);
  await runner.run();
  await advance(1_000);
  assert.deepEqual(world.done, ['SIGSTOP replica 0', 'SIGCONT replica 0']);
});
