import { assert } from '../../net/assert.ts';
import type { DropReason } from '../../net/drops.ts';
import type { Moved } from './attack.ts';
import { UNNOTICED } from './attack.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';
import type { HostileProxy } from './hostile-proxy.ts';

/**
 * What an attacker on the network gets by sending datagrams to a replica while the client asks nothing: a replica that
 * acts on one answers it, and one that doesn't counts why.
 */
export interface Injected {
  /** By replicas that took them for the client's. */
  readonly answers: number;
  /** Neither answered nor counted. */
  readonly isUnnoticed: boolean;
  readonly moved: Moved;
}

/** Until all are counted; on a busy path some are lost, and the rest has to do. */
const COUNT_MS_MAX = 3_000;

/** @param isAnswer What a replica sends to a silent client only when it has acted on something. */
export async function inject(
  scene: Scene,
  proxy: HostileProxy,
  member: number,
  datagrams: readonly Uint8Array[],
  reason: DropReason,
  isAnswer: (datagram: Uint8Array) => boolean,
): Promise<Injected> {
  assert(datagrams.length > 0, 'the client has sent something to each replica');
  await scene.settled(member);
  const before = await scene.dropsOf(member, reason);
  let after = before;
  let answers = 0;
  proxy.toClient = (datagram) => {
    if (isAnswer(datagram)) answers++;
    return [];
  };
  for (const datagram of datagrams) proxy.sendToReplica(datagram);
  await scene.until(async () => {
    after = await scene.dropsOf(member, reason);
    return answers > 0 || after >= before + datagrams.length;
  }, COUNT_MS_MAX);
  await scene.settled(member);
  return { answers, isUnnoticed: answers === 0 && after === before, moved: dropsMoved(member, reason, before, after) };
}

/** What the attacker has got, in words. */
export function harmOf({ answers, isUnnoticed }: Injected, member: number, gain: string): string | undefined {
  if (answers > 0) return `replica ${member} ${gain} and sent ${answers} answers`;
  return isUnnoticed ? UNNOTICED : undefined;
}
