/** What an attacker on the path can do: take datagrams off the wire, change them, and put them on it. */
import assert from 'node:assert/strict';
import { KIND_DATA } from '../../net/wire.ts';
import { seededBytes } from '../workers/random.ts';
import { kindOf } from './endpoint-harness.ts';
import type { Pair, TestWorld } from './endpoint-harness.ts';
import { perfectRoute } from './memory-transport.ts';
import type { MemoryDatagram } from './memory-transport.ts';

/** A datagram of a to b that was sent and taken off the wire. */
export function capture({ world, a, link }: Pair, value: Uint8Array = seededBytes(40, 1)): MemoryDatagram {
  world.network.route = () => [];
  assert.ok(a.send(link.session!, 7, value));
  const sent = world.record(() => world.run(2));
  world.network.route = perfectRoute;
  assert.deepEqual(sent.map(kindOf), [KIND_DATA]);
  return sent[0]!;
}

/** The first datagram of a kind that is sent until something comes about; none of that kind arrives. */
export function intercept({ world }: Pair, kind: number): MemoryDatagram {
  let caught: MemoryDatagram | undefined;
  world.network.route = (datagram) => {
    if (kindOf(datagram) !== kind) return [{ delayMs: 0, datagram }];
    caught = datagram;
    return [];
  };
  world.until(() => caught !== undefined);
  world.network.route = perfectRoute;
  return caught!;
}

export function changed(datagram: MemoryDatagram, change: (bytes: Uint8Array, view: DataView) => void): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  change(bytes, new DataView(bytes.buffer));
  return { ...datagram, bytes };
}

export function injectAll(world: TestWorld, datagrams: readonly MemoryDatagram[]): void {
  for (const datagram of datagrams) world.network.inject(datagram);
  world.step();
}
