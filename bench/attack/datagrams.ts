import { randomBytes } from 'node:crypto';
import { assert } from '../../net/assert.ts';
import { readU53, regionOf, writeU53 } from '../../net/bytes.ts';
import type { DropReason } from '../../net/drops.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { HEADER_BYTES, PREAMBLE_BYTES } from '../../net/wire.ts';
import { MESSAGE_WRITE, WORD_WRITE_COUNTER, typeOf } from '../../src/protocol/messages.ts';
import { ENVELOPE_HEADER_BYTES } from '../../workers/sealing.ts';
import type { Attack, Finding, Moved } from './attack.ts';
import { UNNOTICED, VALUE_BYTES } from './attack.ts';
import { harmOf, inject } from './inject.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';
import type { HostileProxy } from './hostile-proxy.ts';
import { hasMessages, valuePartOf, withVictim } from './victim.ts';

/**
 * A network that sends what it has seen once more, makes datagrams of its own, and changes those that pass. What it
 * sends comes from the address that the replicas know. A replica that acts on such a datagram answers it, and the
 * client asks nothing meanwhile: so an answer is what the attacker has got.
 */
const PUTS = 8;
const FORGERIES = 16;
/** A client reaches such packet numbers after years: the replay window lets them pass. */
const UNUSED_NUMBERS_FROM = 2 ** 45;
const WORD_NUMBER = 2;
const FLIPPED_OFFSET = ENVELOPE_HEADER_BYTES + 64;

export const replayDatagrams: Attack = {
  name: 'replay-datagrams',
  deed: 'the network sends recorded requests to their replicas once more, from the address they came from',
  power: 'network',
  whyNot: () => undefined,
  run: (scene) =>
    withVictim(scene, async ({ client, proxies }) => {
      const recordings = proxies.map((proxy) => record(proxy, scene.mode));
      for (let i = 0; i < PUTS; i++) {
        const key = scene.key(`replayed ${i}`);
        await client.put(key, randomBytes(VALUE_BYTES));
        await client.get(key);
      }
      return sendToAll(scene, proxies, 'replayed', (member) => recordings[member]!.splice(0));
    }),
};

export const forgeDatagrams: Attack = {
  name: 'forge-datagrams',
  deed: 'the network sends requests of its own making: recorded puts with other values, stamps and packet numbers',
  power: 'network',
  whyNot: () => undefined,
  run: (scene) =>
    withVictim(scene, async ({ client, proxies }) => {
      const key = scene.key('forged');
      const value = randomBytes(VALUE_BYTES);
      const recordings = proxies.map((proxy) => record(proxy, scene.mode));
      await client.put(key, value);
      // It ends with a quorum; the others get it a little later.
      const writeTo = (member: number): Uint8Array | undefined => recordings[member]!.find(hasValue);
      await scene.until(() => proxies.every((_, member) => writeTo(member) !== undefined));
      const finding = await sendToAll(scene, proxies, 'forged', (member) => {
        const write = writeTo(member);
        assert(write !== undefined, 'a put is sent to all replicas');
        return Array.from({ length: FORGERIES }, (_, i) => forgedPut(write, scene.mode, i));
      });
      return { ...finding, harm: (await scene.wrongValueOf(key, value)) ?? finding.harm };
    }),
};

export const changeInFlight: Attack = {
  name: 'change-in-flight',
  deed: 'the network flips a bit in the values of puts and of their answers as they pass',
  power: 'network',
  whyNot: () => undefined,
  run: (scene) =>
    withVictim(scene, async ({ client, engine, proxies }) => {
      const clientBefore = engine.drops.forged ?? 0;
      const dropsBefore: number[] = [];
      for (const member of proxies.keys()) dropsBefore.push(await scene.dropsOf(member, 'forged'));
      let harm: string | undefined;
      for (let i = 0; i < PUTS; i++) {
        const key = scene.key(`changed ${i}`);
        const value = randomBytes(VALUE_BYTES);
        // Once a put and a get on each way: what is sent again passes, so that both can end.
        for (const proxy of proxies) changeOneEachWay(proxy);
        await client.put(key, value);
        const got = await client.get(key);
        if (got?.equals(value) !== true) harm ??= 'a get through this network gives a value that was not put';
        harm ??= await scene.wrongValueOf(key, value);
      }
      const moved: Moved[] = [];
      for (const [member, before] of dropsBefore.entries()) {
        moved.push(dropsMoved(member, 'forged', before, await scene.dropsOf(member, 'forged')));
      }
      const clientAfter = engine.drops.forged ?? 0;
      moved.push({ where: 'client', what: 'dropped forged', before: clientBefore, after: clientAfter });
      return { harm: harm ?? (moved.every(hasGrown) ? undefined : UNNOTICED), moved };
    }),
};

/** Requests that pass to a replica. */
function record(proxy: HostileProxy, mode: SecurityMode): Uint8Array[] {
  const recorded: Uint8Array[] = [];
  proxy.toReplica = (datagram) => {
    if (hasMessages(datagram, mode)) recorded.push(datagram);
    return [datagram];
  };
  return recorded;
}

/** Sends to each replica in turn what the attacker has for it. */
async function sendToAll(
  scene: Scene,
  proxies: readonly HostileProxy[],
  reason: DropReason,
  datagramsFor: (member: number) => Uint8Array[],
): Promise<Finding> {
  const moved: Moved[] = [];
  let harm: string | undefined;
  for (const [member, proxy] of proxies.entries()) {
    // What the client has sent last is still to be recorded.
    await scene.settled(member);
    const isAnswer = (datagram: Uint8Array): boolean => hasMessages(datagram, scene.mode);
    const injected = await inject(scene, proxy, member, datagramsFor(member), reason, isAnswer);
    moved.push(injected.moved);
    harm ??= harmOf(injected, member, 'acted on them');
  }
  return { harm, moved };
}

function hasValue(datagram: Uint8Array): boolean {
  return valuePartOf(datagram, VALUE_BYTES) !== undefined;
}

/**
 * A put that nobody made: an unused packet number, another value, and where the control part can be read (it is
 * encrypted in mode secure) a stamp above the one that was written.
 */
function forgedPut(recorded: Uint8Array, mode: SecurityMode, index: number): Uint8Array {
  const forged = recorded.slice();
  const { words } = regionOf(forged.buffer);
  writeU53(words, WORD_NUMBER, UNUSED_NUMBERS_FROM + index);
  const value = valuePartOf(forged, VALUE_BYTES)!;
  value[FLIPPED_OFFSET]! ^= 1;
  const word = (HEADER_BYTES + value.length + PREAMBLE_BYTES) >> 2;
  if (mode !== 'secure' && typeOf(words, word) === MESSAGE_WRITE) {
    writeU53(words, word + WORD_WRITE_COUNTER, readU53(words, word + WORD_WRITE_COUNTER) + 1 + index);
  }
  return forged;
}

function changeOneEachWay(proxy: HostileProxy): void {
  proxy.toReplica = changeOne();
  proxy.toClient = changeOne();
}

function changeOne(): HostileProxy['toReplica'] {
  let isDone = false;
  return (datagram) => {
    const value = valuePartOf(datagram, VALUE_BYTES);
    if (value !== undefined && !isDone) {
      isDone = true;
      value[FLIPPED_OFFSET]! ^= 1;
    }
    return [datagram];
  };
}

function hasGrown({ before, after }: Moved): boolean {
  return after > before;
}
