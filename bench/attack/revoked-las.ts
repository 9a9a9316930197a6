import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UdpTransport } from '../../net/udp.ts';
import { AvocadoError } from '../../src/errors.ts';
import { startEmbeddedChain } from '../../src/server/embedded-chain.ts';
import type { EmbeddedChain } from '../../src/server/embedded-chain.ts';
import { runReplica } from '../../src/server/replica-server.ts';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { ChainAccess } from '../../src/trust/chain/chain-access.ts';
import { runLas } from '../../src/trust/chain/las.ts';
import type { RunningLas } from '../../src/trust/chain/las.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { sendCommand } from '../../src/trust/chain/operator.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import { openAttackClient } from './attack-client.ts';
import type { AttackClient } from './attack-client.ts';
import type { Finding } from './attack.ts';
import { UNNOTICED } from './attack.ts';

const HOST = '127.0.0.1';
const REFRESH_MS = 500;
/** A look, and what a busy machine adds. */
const PATIENCE_MS = REFRESH_MS + 8_000;
const JOIN_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 1_000;
const DEADLINE_MS = 500;
const RETRY_MS = 50;
const ANSWERED = 'answered';
const KEY = 'a key that a client trusts its member with';
const ENDED = 'session-revoked';

/**
 * A cluster of its own in this process, with a host for the client and another for the one member. The LAS of the latter is
 * revoked: nobody knows what the member is. It is genuine here, and shows what one that is not would get.
 */
export async function serveOn(signal: AbortSignal): Promise<Finding> {
  const directory = mkdtempSync(joinPath(tmpdir(), 'avocado-attack-'));
  const ends: (() => Promise<void> | void)[] = [];
  try {
    const members = [{ host: HOST, port: await freePort() }];
    const lasIds: string[] = [];
    const chain = await startEmbeddedChain({
      directory,
      members,
      mode: 'secure',
      vendorLatencyMs: 0,
      refreshMs: REFRESH_MS,
      onCas: (event) => {
        if (event.type === 'las-attested') lasIds.push(event.lasId);
      },
    });
    ends.push(() => chain.close());
    const access = { ...chain.access, machine: joinPath(directory, 'other-machine.json') };
    const las = await startLas(access);
    ends.push(() => las.close());
    await las.attested;
    const replica = await runReplica({
      clusterDirectory: directory,
      chain: { ...access, las: las.url },
      index: 0,
      signal,
      onStateChange: () => {},
    });
    ends.push(() => replica.close());
    const waiting = { timeoutMs: JOIN_TIMEOUT_MS, signal };
    const open = await openAttackClient(await obtainAuthority(chain.access, { role: 'client' }, waiting));
    ends.push(() => open.client.close());
    await open.client.put(KEY, 'a secret');

    const before = {
      open: await answerOf(open),
      fresh: await newcomersAnswer(chain.access, signal),
      ended: endedBy(open),
    };
    await revokeLas(chain, lasIds[1]!, directory);
    const untilMs = performance.now() + PATIENCE_MS;
    let after = before;
    while ((after.open === ANSWERED || after.fresh === ANSWERED) && performance.now() < untilMs) {
      await sleep(RETRY_MS, undefined, { signal });
      after = { open: await answerOf(open), fresh: await newcomersAnswer(chain.access, signal), ended: endedBy(open) };
    }
    const harm =
      after.open === ANSWERED
        ? 'clients go on in the sessions that they have with it'
        : after.fresh === ANSWERED
          ? 'clients open sessions with it'
          : after.ended === before.ended
            ? UNNOTICED
            : undefined;
    return {
      harm,
      moved: [
        { where: 'client', what: ENDED, before: before.ended, after: after.ended },
        { where: 'attacker', what: 'gets asked in open sessions', before: before.open, after: after.open },
        { where: 'attacker', what: 'gets asked in new sessions', before: before.fresh, after: after.fresh },
      ],
    };
  } finally {
    for (const end of ends.toReversed()) await end();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const probe = await UdpTransport.open({ host: HOST, port: 0 });
  await probe.close();
  return probe.port;
}

function startLas(access: ChainAccess): Promise<RunningLas> {
  const platform = openPlatform(access);
  return runLas({
    host: HOST,
    port: 0,
    cas: parseCasReference(access.cas),
    platform,
    judgement: judgementOf(access, platform),
    nowMs: Date.now,
    onEvent: () => {},
    onError: (error) => process.stderr.write(`LAS: ${String(error)}\n`),
  });
}

async function revokeLas({ access }: EmbeddedChain, lasId: string, directory: string): Promise<void> {
  const { signing } = readOperatorFile(joinPath(directory, OPERATOR_FILE));
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, openPlatform(access)));
  try {
    await sendCommand(cas, signing, { type: 'revoke-las', lasId });
  } finally {
    cas.close();
  }
}

function endedBy({ engine }: AttackClient): number {
  return engine.drops[ENDED] ?? 0;
}

async function answerOf({ client }: AttackClient): Promise<string> {
  return codeOf(() => client.get(KEY, { deadlineMs: DEADLINE_MS }));
}

/** Of a client that joins now. */
async function newcomersAnswer(access: ChainAccess, signal: AbortSignal): Promise<string> {
  return codeOf(async () => {
    const authority = await obtainAuthority(access, { role: 'client' }, { timeoutMs: JOIN_TIMEOUT_MS, signal });
    const { client } = await openAttackClient(authority, { connectTimeoutMs: CONNECT_TIMEOUT_MS });
    await client.close();
  });
}

async function codeOf(ask: () => Promise<unknown>): Promise<string> {
  try {
    await ask();
    return ANSWERED;
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    return error.code;
  }
}
