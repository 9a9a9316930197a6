import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority } from '../../src/trust/authority.ts';
import { OPERATOR_FILE } from '../../src/trust/chain/access-file.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { accessOf, judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { OperatorCommand } from '../../src/trust/chain/messages.ts';
import { readOperatorFile } from '../../src/trust/chain/operator-file.ts';
import { sendCommand } from '../../src/trust/chain/operator.ts';
import { newProfile } from '../../src/trust/chain/profiles.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { CLUSTER_KEY_FILE, readClusterFile } from '../../src/trust/cluster-files.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import { generateStaticKeyPair } from '../../workers/signing.ts';
import type { Scene } from './scene.ts';

/** A client with few rights, which whoever runs the cluster makes for the attack: by an operator of CAS, or the cluster key. */
const PROFILE = 'avocado-attack';
const CERTIFICATE_SECONDS = 3_600;
const TIMEOUT_MS = 15_000;
const SIGNING_KEY_BYTES = 64;

/** The data keys are not kept from it: that it has none must not be what protects the keys of others. */
export async function limitedAuthority(scene: Scene, grants: string): Promise<Authority> {
  const path = join(scene.directory, OPERATOR_FILE);
  if (!existsSync(path)) return issuedAuthority(scene, grants);
  await command(scene, path, (replaces) => ({ type: 'set-profile', profile: newProfile(PROFILE, grants), replaces }));
  const waiting = { timeoutMs: TIMEOUT_MS, signal: scene.signal };
  const authority = await obtainAuthority(scene.directory, { role: 'client', profile: PROFILE }, waiting);
  await command(scene, path, () => ({ type: 'remove-profile', name: PROFILE }));
  scene.onClose(async () => authority.close?.());
  const { clusterId, mode, configuration, staticKeyPair, certificate } = authority;
  return { ...scene.authority, clusterId, mode, configuration, staticKeyPair, certificate };
}

/** @param wish Gets the hash of the settings in force. */
async function command(
  scene: Scene,
  operatorFile: string,
  wish: (policyHash: string) => OperatorCommand,
): Promise<void> {
  const access = accessOf(scene.directory);
  const cas = await CasConnection.open(parseCasReference(access.cas), judgementOf(access, openPlatform(access)));
  try {
    await sendCommand(cas, readOperatorFile(operatorFile).signing, wish(cas.document.policyHash));
  } finally {
    cas.close();
  }
}

function issuedAuthority({ directory, authority }: Scene, grants: string): Authority {
  const staticKeyPair = generateStaticKeyPair();
  const key = readClusterFile(directory, CLUSTER_KEY_FILE, 'it signs certificates').hex('secretKey', SIGNING_KEY_BYTES);
  const certificate = issueCertificate(
    {
      role: 'client',
      grants: parseGrants(grants),
      staticKey: staticKeyPair.publicKey,
      clusterId: authority.clusterId,
      expirySeconds: Math.floor(Date.now() / 1_000) + CERTIFICATE_SECONDS,
    },
    key,
  );
  return { ...authority, staticKeyPair, certificate };
}
