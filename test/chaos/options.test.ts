import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAULT_KINDS } from '../../bench/chaos/faults.ts';
import { CHAOS_DEFAULTS, chaosFlags, chaosOptionsOf } from '../../bench/chaos/options.ts';
import type { ChaosFlags, ChaosOptions } from '../../bench/chaos/options.ts';
import { benchFlags } from '../../bench/options.ts';
import { CommandFailure } from '../../src/cli/failure.ts';
import { createProgram } from '../../src/cli/program.ts';

function chaos(...argv: string[]): ChaosOptions {
  const command = createProgram()
    .createCommand('bench')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const flag of [...benchFlags(), ...chaosFlags()]) command.addOption(flag);
  const flags = command.parse(['--chaos', ...argv], { from: 'user' }).opts<ChaosFlags>();
  return chaosOptionsOf(flags, (flag) => command.getOptionValueSource(flag) === 'cli');
}

test('chaos has defaults of its own, and what the user names stands', () => {
  const { records, outstanding, clients, warmupMs, replicas, durationMs, kinds } = chaos();
  assert.deepEqual({ records, outstanding, clients, warmup: warmupMs, replicas }, CHAOS_DEFAULTS);
  assert.equal(durationMs, 10_000);
  assert.deepEqual(kinds, FAULT_KINDS);
  // The bench's defaults, named: not to be taken for unnamed ones.
  const named = chaos('--records', '100000', '--outstanding', '256', '--clients', '1', '--warmup', '2');
  assert.equal(chaos('--clients', '5').processes, 5, 'each client can be stopped by itself');
  assert.deepEqual([named.records, named.outstanding, named.clients, named.warmupMs], [100_000, 256, 1, 2_000]);
  assert.equal(chaos('--replicas', '5').replicas, 5);
});

test('a stream beside the load is not for chaos', () => {
  assert.throws(() => chaos('--beside', 'put 1KiB'), /leave one of them out/);
});

test('faults are chosen by name, in any order', () => {
  assert.deepEqual(chaos('--chaos-faults', 'loss,kill').kinds, ['kill', 'loss']);
});

test('mode plaintext leaves corruption out, and says so', () => {
  const { kinds, notices } = chaos('--mode', 'plaintext');
  assert.deepEqual(
    kinds,
    FAULT_KINDS.filter((kind) => kind !== 'corrupt'),
  );
  assert.equal(notices.length, 1);
  assert.match(notices[0]!, /could not notice corrupted datagrams/);
  assert.deepEqual(chaos('--mode', 'plaintext', '--chaos-faults', 'loss').notices, []);
  assert.deepEqual(chaos('--mode', 'authenticated').notices, []);
});

test('what can be no chaos is refused, in one line that says what to do', () => {
  const refused: [argv: string[], expected: RegExp][] = [
    [['--connect'], /--chaos kills replicas.*leave --connect out/],
    [['--mode', 'plaintext', '--chaos-faults', 'loss,corrupt'], /mode plaintext has no tags.*leave corrupt out/],
    [['--replicas', '1'], /give --replicas 3, 5 or 7/],
    [['--duration', '0.5'], /--chaos runs for 1 to 600 seconds/],
    [['--duration', '601'], /--chaos runs for 1 to 600 seconds/],
    [['--value-bytes', '15'], /give --value-bytes 16/],
  ];
  for (const [argv, expected] of refused) {
    assert.throws(
      () => chaos(...argv),
      (error: unknown) => {
        assert(error instanceof CommandFailure && error.exitCode === 2);
        assert.match(error.message, expected);
        assert(!error.message.includes('\n'));
        return true;
      },
    );
  }
  for (const kinds of ['kill,kill', '', 'thunder', 'kill,']) {
    assert.throws(() => chaos('--chaos-faults', kinds), { code: 'commander.invalidArgument' });
  }
});
