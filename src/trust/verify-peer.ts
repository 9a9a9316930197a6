import type { Verdict } from './authority.ts';
import { verifyCertificate } from './certificate.ts';
import type { ClusterConfiguration } from './cluster-configuration.ts';

/** A replica must moreover be the member that it says it is: certificates outlive configurations. */
export function verifyPeer(
  configuration: ClusterConfiguration,
  certificate: Uint8Array,
  staticKey: Uint8Array,
  nowSeconds: number,
): Verdict {
  const { clusterId, clusterPublicKey, members } = configuration;
  const verdict = verifyCertificate(certificate, { clusterId, clusterPublicKey, staticKey, nowSeconds });
  if (!verdict.ok || verdict.identity.role === 'client') return verdict;
  const member = members[verdict.identity.memberIndex];
  if (member === undefined || Buffer.compare(member.staticKey, staticKey) !== 0) {
    return {
      ok: false,
      reason: `the certificate is replica ${verdict.identity.memberIndex}'s, which has another key here`,
    };
  }
  return verdict;
}
