import type { KeyPair } from '../../../workers/signing.ts';
import { hexOf } from '../hex.ts';
import type { CasConnection } from './cas-connection.ts';
import { OPERATOR_ANSWER } from './messages.ts';
import type { OperatorCommand } from './messages.ts';
import { documentJson, signDocument } from './signed-document.ts';

/**
 * The operator's side of a command.
 * @returns What CAS has done.
 * @throws AvocadoError ADMISSION_REFUSED, TRUST_UNAVAILABLE.
 */
export async function sendCommand(cas: CasConnection, keys: KeyPair, command: OperatorCommand): Promise<string> {
  const { clusterId } = cas.document;
  const content = { clusterId, nonce: await cas.nonce(), command };
  const document = documentJson(signDocument('operator command', content, keys.secretKey));
  return (await cas.call('/v1/operator', { operator: hexOf(keys.publicKey), document }, OPERATOR_ANSWER)).done;
}
