import { generateStaticKeyPair } from '../../../workers/signing.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { JOIN_ANSWER } from '../../../src/trust/chain/messages.ts';
import { joinReportData } from '../../../src/trust/chain/report-data.ts';
import type { SimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { writeEvidence } from '../../../src/trust/evidence/evidence-file.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import type { Chain } from './chain-fixture.ts';

/** A join of a member whose host has changed the report on its way: the member itself found values under the key. */
export async function joinWithForgedReport(
  chain: Chain,
  machine: SimulatedMachine,
  member: CasAuthority,
): Promise<unknown> {
  const cas = await chain.connect();
  const honest = {
    role: 'replica' as const,
    memberIndex: 0,
    nonce: await cas.nonce(),
    staticKey: hexOf(member.staticKeyPair.publicKey),
    deliveryKey: hexOf(generateStaticKeyPair().publicKey),
    profile: null,
    keyReport: { held: [1, 2], unused: [], closed: [] },
  };
  const evidence = await chain.platform(machine).provider.makeEvidence(joinReportData(honest));
  const changed = { ...honest, keyReport: { held: [1, 2], unused: [1], closed: [1] } };
  const request = {
    ...changed,
    wantsDataKeys: true,
    enrolment: null,
    proof: { type: 'evidence', evidence: writeEvidence(evidence) },
  };
  return cas.call('/v1/join', request, JOIN_ANSWER);
}
