import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DropReason } from '../../net/drops.ts';
import { AvocadoError } from '../../src/errors.ts';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { accessOf, judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import { join } from '../../src/trust/chain/join-cluster.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { sendCommand } from '../../src/trust/chain/operator.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { hexOf } from '../../src/trust/hex.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import { seconds } from '../report-text.ts';
import { openAttackClient } from './attack-client.ts';
import type { AttackClient } from './attack-client.ts';
import type { Finding, Moved } from './attack.ts';
import { ruleOf } from './door.ts';
import type { Scene } from './scene.ts';
import { dropsMoved } from './scene.ts';

/** Members look every so often, unless the cluster's files say otherwise (cas-authority.ts). */
const REFRESH_MS_DEFAULT = 10_000;
/** What a busy machine takes for a look and a handshake. */
const MORE_MS = 5_000;
const JOIN_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 2_000;
const RETRY_MS = 50;
const DEADLINE_MS = 500;
const REASON = 'certificate-refused';
const ENDED = 'session-revoked';
const ANSWERED = 'answered';
/** Any: what is asked is whether it is answered. */
const KEY = 'a key of a revoked client';

/** It connects anew, and goes on in the sessions that it has, until no replica takes it any more; how long that takes is what is shown. */
export async function goOn(scene: Scene): Promise<Finding> {
  const access = accessOf(scene.directory);
  const platform = openPlatform(access);
  const operator = readOperatorFile(joinPath(scene.directory, OPERATOR_FILE));
  const waiting = { timeoutMs: JOIN_TIMEOUT_MS, signal: scene.signal };
  const authority = await obtainAuthority(scene.directory, { role: 'client' }, waiting);
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, platform));
  const open = await openAttackClient(authority);
  try {
    const before = await outcomeOf(authority);
    const answerBefore = await answerOf(open);
    const dropsBefore = await dropsOf(scene, REASON);
    const endedBefore = await dropsOf(scene, ENDED);
    const startMs = performance.now();
    await sendCommand(cas, operator.signing, {
      type: 'revoke-key',
      staticKey: hexOf(authority.staticKeyPair.publicKey),
    });
    const refusedMs: (number | undefined)[] = dropsBefore.map(() => undefined);
    const endedMs: (number | undefined)[] = dropsBefore.map(() => undefined);
    let after = before;
    let answerAfter = answerBefore;
    await scene.until(
      async () => {
        answerAfter = await answerOf(open);
        after = await outcomeOf(authority);
        noteMoved(refusedMs, dropsBefore, await dropsOf(scene, REASON), performance.now() - startMs);
        noteMoved(endedMs, endedBefore, await dropsOf(scene, ENDED), performance.now() - startMs);
        await sleep(RETRY_MS);
        const isOut = after !== 'connected' && answerAfter !== ANSWERED;
        return isOut && !refusedMs.includes(undefined) && !endedMs.includes(undefined);
      },
      (access.refreshMs ?? REFRESH_MS_DEFAULT) + MORE_MS,
    );
    const options = { role: 'client', memberIndex: null, wantsDataKeys: true, platform, lasUrl: access.las } as const;
    const rejoined = await rejoin(() => join(cas, authority.staticKeyPair, options));
    const dropsAfter = await dropsOf(scene, REASON);
    const moved: Moved[] = [
      { where: 'attacker', what: 'connection', before, after },
      { where: 'attacker', what: 'get in open sessions', before: answerBefore, after: answerAfter },
      { where: 'attacker', what: 'join with the same key', before: 'admitted', after: rejoined },
    ];
    for (const [member, tookMs] of refusedMs.entries()) {
      const where = `replica ${member}`;
      moved.push(
        { where, what: 'refuses it', before: 'not before the revocation', after: timeText(tookMs) },
        { where, what: 'ends its sessions', before: 'not before the revocation', after: timeText(endedMs[member]) },
        dropsMoved(member, REASON, dropsBefore[member]!, dropsAfter[member]!),
      );
    }
    const lenient = refusedMs.indexOf(undefined);
    const harm =
      after === 'connected'
        ? 'the replicas still take it for a client'
        : lenient >= 0
          ? `replica ${lenient} has not refused it`
          : answerAfter === ANSWERED || endedMs.includes(undefined)
            ? 'sessions that it had open go on'
            : rejoined === 'admitted'
              ? 'CAS admitted the revoked key again'
              : undefined;
    return { harm, moved };
  } finally {
    await open.client.close();
    cas.close();
    authority.close?.();
  }
}

/** Notes when counters have moved first. */
function noteMoved(
  movedMs: (number | undefined)[],
  before: readonly number[],
  now: readonly number[],
  ms: number,
): void {
  for (const [member, count] of now.entries()) if (count > before[member]!) movedMs[member] ??= ms;
}

function timeText(tookMs: number | undefined): string {
  return tookMs === undefined ? 'not at all' : `after ${seconds(tookMs)}`;
}

/** In the sessions that a client has. */
async function answerOf({ client }: AttackClient): Promise<string> {
  try {
    await client.get(KEY, { deadlineMs: DEADLINE_MS });
    return ANSWERED;
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return error.code;
  }
}

/** Of a new connection. */
async function outcomeOf(authority: Authority): Promise<string> {
  try {
    await (await openAttackClient(authority, { connectTimeoutMs: CONNECT_TIMEOUT_MS })).client.close();
    return 'connected';
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return error.code;
  }
}

async function rejoin(ask: () => Promise<unknown>): Promise<string> {
  try {
    await ask();
    return 'admitted';
  } catch (error) {
    if (!(error instanceof AvocadoError) || error.code !== 'ADMISSION_REFUSED') throw error;
    return ruleOf(error);
  }
}

async function dropsOf(scene: Scene, reason: DropReason): Promise<number[]> {
  const counts: number[] = [];
  for (const member of scene.hosts.keys()) counts.push(await scene.dropsOf(member, reason));
  return counts;
}
