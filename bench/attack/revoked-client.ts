import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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
const REASON = 'certificate-refused';

/** It connects anew until no replica takes it any more; how long that takes is what is shown. */
export async function goOn(scene: Scene): Promise<Finding> {
  const access = accessOf(scene.directory);
  const platform = openPlatform(access);
  const operator = readOperatorFile(joinPath(scene.directory, OPERATOR_FILE));
  const waiting = { timeoutMs: JOIN_TIMEOUT_MS, signal: scene.signal };
  const authority = await obtainAuthority(scene.directory, { role: 'client' }, waiting);
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, platform));
  try {
    const before = await outcomeOf(authority);
    const dropsBefore = await dropsOf(scene);
    const startMs = performance.now();
    await sendCommand(cas, operator.signing, {
      type: 'revoke-key',
      staticKey: hexOf(authority.staticKeyPair.publicKey),
    });
    const refusedMs: (number | undefined)[] = dropsBefore.map(() => undefined);
    let after = before;
    await scene.until(
      async () => {
        after = await outcomeOf(authority);
        for (const [member, drops] of (await dropsOf(scene)).entries()) {
          if (drops > dropsBefore[member]!) refusedMs[member] ??= performance.now() - startMs;
        }
        await sleep(RETRY_MS);
        return after !== 'connected' && !refusedMs.includes(undefined);
      },
      (access.refreshMs ?? REFRESH_MS_DEFAULT) + MORE_MS,
    );
    const options = { role: 'client', memberIndex: null, wantsDataKeys: true, platform, lasUrl: access.las } as const;
    const rejoined = await rejoin(() => join(cas, authority.staticKeyPair, options));
    const dropsAfter = await dropsOf(scene);
    const moved: Moved[] = [
      { where: 'attacker', what: 'connection', before, after },
      { where: 'attacker', what: 'join with the same key', before: 'admitted', after: rejoined },
    ];
    for (const [member, tookMs] of refusedMs.entries()) {
      const refuses = tookMs === undefined ? 'not at all' : `after ${seconds(tookMs)}`;
      moved.push(
        { where: `replica ${member}`, what: 'refuses it', before: 'not before the revocation', after: refuses },
        dropsMoved(member, REASON, dropsBefore[member]!, dropsAfter[member]!),
      );
    }
    const lenient = refusedMs.indexOf(undefined);
    const harm =
      after === 'connected'
        ? 'the replicas still take it for a client'
        : lenient >= 0
          ? `replica ${lenient} has not refused it`
          : rejoined === 'admitted'
            ? 'CAS admitted the revoked key again'
            : undefined;
    return { harm, moved };
  } finally {
    cas.close();
    authority.close?.();
  }
}

/** Of a new connection: sessions that are open end by themselves. */
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

async function dropsOf(scene: Scene): Promise<number[]> {
  const counts: number[] = [];
  for (const member of scene.hosts.keys()) counts.push(await scene.dropsOf(member, REASON));
  return counts;
}
