import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { generateStaticKeyPair } from '../../workers/signing.ts';
import type { KeyPair } from '../../workers/signing.ts';
import { AvocadoError } from '../../src/errors.ts';
import { startEmbeddedChain } from '../../src/server/embedded-chain.ts';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import type { CasDocument } from '../../src/trust/chain/messages.ts';
import { judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { ChainAccess } from '../../src/trust/chain/chain-access.ts';
import { join } from '../../src/trust/chain/join-cluster.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { sendCommand } from '../../src/trust/chain/operator.ts';
import { hexOf } from '../../src/trust/hex.ts';
import type { Finding } from './attack.ts';
import { UNNOTICED } from './attack.ts';
import { ruleOf } from './door.ts';

/** Of members nobody starts any. */
const MEMBERS = [{ host: '127.0.0.1', port: 7400 }];

/**
 * A CAS and a LAS of their own, in this process, so that no cluster is harmed: a CAS that was turned back decides nothing
 * any more. The sealed state is genuine and opens; only somebody else's memory can tell that it is not the newest.
 */
export async function turnBack(signal: AbortSignal): Promise<Finding> {
  const directory = mkdtempSync(joinPath(tmpdir(), 'avocado-attack-'));
  const disk = joinPath(directory, 'cas');
  const kept = joinPath(directory, 'kept');
  let isNoticed = false;
  try {
    const chain = await startEmbeddedChain({
      directory,
      members: MEMBERS,
      mode: 'secure',
      vendorLatencyMs: 0,
      onCas: ({ type }) => {
        isNoticed ||= type === 'overtaken';
      },
    });
    try {
      const { access } = chain;
      const client = generateStaticKeyPair();
      const admitted = await joinAs(client, access);
      cpSync(disk, kept, { recursive: true });
      await revoke(client, access, directory);
      const newest = await documentOf(access);
      const before = await joinAs(client, access);
      signal.throwIfAborted();

      await chain.stopCas();
      rmSync(disk, { recursive: true });
      cpSync(kept, disk, { recursive: true });
      await chain.startCas();
      const old = await documentOf(access);
      const after = await joinAs(client, access);
      return {
        harm: after === ADMITTED ? 'CAS admitted the revoked client again' : isNoticed ? undefined : UNNOTICED,
        moved: [
          { where: 'CAS', what: 'state on its disk', before: newest.stateCounter, after: old.stateCounter },
          { where: 'CAS', what: 'it is', before: newest.state, after: old.state },
          { where: 'attacker', what: 'join before the revocation, and with the old state', before: admitted, after },
          { where: 'attacker', what: 'join after the revocation, and with the old state', before, after },
        ],
      };
    } finally {
      await chain.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const ADMITTED = 'admitted';

async function withCas<T>(access: ChainAccess, use: (cas: CasConnection) => Promise<T>): Promise<T> {
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, openPlatform(access)));
  try {
    return await use(cas);
  } finally {
    cas.close();
  }
}

function documentOf(access: ChainAccess): Promise<CasDocument> {
  return withCas(access, async ({ document }) => document);
}

async function revoke({ publicKey }: KeyPair, access: ChainAccess, directory: string): Promise<void> {
  const { signing } = readOperatorFile(joinPath(directory, OPERATOR_FILE));
  await withCas(access, (cas) => sendCommand(cas, signing, { type: 'revoke-key', staticKey: hexOf(publicKey) }));
}

/** What CAS says. */
async function joinAs(keys: KeyPair, access: ChainAccess): Promise<string> {
  const options = {
    role: 'client',
    memberIndex: null,
    wantsDataKeys: true,
    platform: openPlatform(access),
    lasUrl: access.las,
  } as const;
  try {
    await withCas(access, (cas) => join(cas, keys, options));
    return ADMITTED;
  } catch (error) {
    if (!(error instanceof AvocadoError)) throw error;
    if (error.code === 'ADMISSION_REFUSED') return ruleOf(error);
    return error.message.replace(/^CAS https:\S+ /, '').replace(/;.*$/s, '');
  }
}
