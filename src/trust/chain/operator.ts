import type { KeyPair } from '../../../workers/signing.ts';
import { AvocadoError } from '../../errors.ts';
import { hexOf } from '../hex.ts';
import type { CasConnection } from './cas-connection.ts';
import { OPERATOR_ANSWER } from './messages.ts';
import type { OperatorCommand, ProfileList } from './messages.ts';
import { documentJson, signDocument } from './signed-document.ts';

/**
 * The operator's side of a command.
 * @returns What CAS has done.
 * @throws AvocadoError ADMISSION_REFUSED, TRUST_UNAVAILABLE.
 */
export async function sendCommand(cas: CasConnection, keys: KeyPair, command: OperatorCommand): Promise<string> {
  return (await send(cas, keys, command)).done;
}

/** The profiles, and which clients have certificates by them. @throws AvocadoError as above. */
export async function askProfiles(cas: CasConnection, keys: KeyPair): Promise<ProfileList> {
  const { list } = await send(cas, keys, { type: 'list-profiles' });
  if (list === undefined) throw new AvocadoError('ADMISSION_REFUSED', 'CAS, though attested, answered without a list');
  return list;
}

async function send(
  cas: CasConnection,
  keys: KeyPair,
  command: OperatorCommand,
): Promise<{ done: string; list?: ProfileList | undefined }> {
  const { clusterId } = cas.document;
  const content = { clusterId, nonce: await cas.nonce(), command };
  const document = documentJson(signDocument('operator command', content, keys.secretKey));
  return cas.call('/v1/operator', { operator: hexOf(keys.publicKey), document }, OPERATOR_ANSWER);
}
