import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkCores,
  checkGranted,
  checkMemory,
  checkMtu,
  checkNodeVersion,
  checkWorkers,
} from '../../src/cli/machine-checks.ts';

const MIB = 2 ** 20;

test('an old Node makes it impossible to run', () => {
  assert.equal(checkNodeVersion('18.19.1').level, 'fail');
  assert.match(checkNodeVersion('18.19.1').advice ?? '', /install Node 20/);
  assert.equal(checkNodeVersion('20.0.0').level, 'ok');
  assert.equal(checkNodeVersion('26.1.0').level, 'ok');
});

test('one core and little memory are warned of', () => {
  assert.equal(checkCores(1).level, 'warn');
  assert.equal(checkCores(2).level, 'ok');
  assert.equal(checkMemory(512 * MIB).level, 'warn');
  assert.equal(checkMemory(4096 * MIB).level, 'ok');
});

test('a small receive buffer comes with the command that raises it', { skip: process.platform !== 'linux' }, () => {
  const result = checkGranted(212_992, 212_992);
  assert.equal(result.level, 'warn');
  assert.match(result.seen, /208 KiB a socket \(net\.core\.rmem_max 208 KiB\)/);
  assert.equal(result.advice, 'sudo sysctl -w net.core.rmem_max=4194304');
  assert.equal(checkGranted(4 * MIB, 4 * MIB).level, 'ok');
});

test('a small MTU comes with the datagram size that fits it', () => {
  assert.equal(checkMtu('eth0', 1_500).level, 'ok');
  assert.match(checkMtu('eth0', 1_400).advice ?? '', /--datagram-bytes 1368$/);
  assert.match(checkMtu('wg0', 1_000).advice ?? '', /sudo ip link set wg0 mtu 1500/);
  assert.equal(checkMtu('lo', 65_536).level, 'ok');
  assert.match(checkMtu('lo', 1_500).advice ?? '', /sudo ip link set lo mtu 65536/);
});

test('workers come with how many there are, and from what size on they are worth it here', async () => {
  const { level, seen } = await checkWorkers(3);
  assert.equal(level, 'ok');
  assert.match(seen, /^auto: 3; a worker is worth its while from [\d,]+ bytes on$/);
});
