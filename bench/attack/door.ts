import { generateSigningKeyPair, generateStaticKeyPair } from '../../workers/signing.ts';
import type { KeyPair } from '../../workers/signing.ts';
import { openSealedTo } from '../../workers/secret-box.ts';
import { AvocadoError } from '../../src/errors.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { accessOf, judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { ChainAccess } from '../../src/trust/chain/chain-access.ts';
import { askVoucher, localProof } from '../../src/trust/chain/join-cluster.ts';
import { JOIN_ANSWER, VOUCHER } from '../../src/trust/chain/messages.ts';
import type { JoinClaim } from '../../src/trust/chain/report-data.ts';
import { contentOf, documentJson, signDocument } from '../../src/trust/chain/signed-document.ts';
import type { SignedDocument } from '../../src/trust/chain/signed-document.ts';
import { hexOf } from '../../src/trust/hex.ts';
import type { Finding } from './attack.ts';
import { UNNOTICED } from './attack.ts';
import type { Scene } from './scene.ts';

/** The way into a cluster by its CAS, as an attacker has it. */
export interface Door {
  claim(): Promise<JoinClaim>;
  /** Of the genuine LAS. @param measurement Of another build than this one. */
  voucher(claim: JoinClaim, measurement?: string): Promise<SignedDocument>;
  /** The same with the attacker's signature. */
  forged(voucher: SignedDocument): SignedDocument;
  /** Undefined when it is let in with data keys that the attacker can open; else why not. */
  refusal(claim: JoinClaim, voucher: SignedDocument): Promise<string | undefined>;
}

/** @param attempt Returns why CAS refused, or undefined. */
export async function atDoor(scene: Scene, attempt: (door: Door) => Promise<string | undefined>): Promise<Finding> {
  const access = accessOf(scene.directory);
  if (access.las === undefined) throw new AvocadoError('ADMISSION_REFUSED', 'this cluster has no LAS');
  const connect = (): Promise<CasConnection> =>
    CasConnection.open(parseCasReference(access.cas), judgementOf(access, openPlatform(access)));
  const cas = await connect();
  try {
    const deliveryKeys = generateStaticKeyPair();
    const refusal = await attempt(doorOf(cas, { ...access, las: access.las }, deliveryKeys));
    const after = await connect();
    after.close();
    const moved = {
      where: 'CAS',
      what: 'entries of the audit log',
      before: cas.document.auditCount,
      after: after.document.auditCount,
    };
    const said = { where: 'attacker', what: 'join', before: 'asked', after: refusal ?? 'let in' };
    const isNoticed = moved.after > moved.before;
    return {
      harm: refusal === undefined ? 'CAS gave it the data keys' : isNoticed ? undefined : UNNOTICED,
      moved: [said, moved],
    };
  } finally {
    cas.close();
  }
}

function doorOf(cas: CasConnection, access: ChainAccess & { readonly las: string }, deliveryKeys: KeyPair): Door {
  return {
    claim: async () => ({
      role: 'client',
      memberIndex: null,
      nonce: await cas.nonce(),
      staticKey: hexOf(generateStaticKeyPair().publicKey),
      deliveryKey: hexOf(deliveryKeys.publicKey),
    }),
    voucher: async (claim, measurement) => {
      const platform = openPlatform({ ...access, ...(measurement !== undefined && { measurement }) });
      return askVoucher(access.las, { ...claim, proof: await localProof(claim, platform) });
    },
    forged: (voucher) => signDocument('voucher', contentOf(voucher, VOUCHER)!, generateSigningKeyPair().secretKey),
    refusal: async (claim, voucher) => {
      const request = { ...claim, wantsDataKeys: true, proof: { type: 'voucher', voucher: documentJson(voucher) } };
      try {
        const { sealedKeys } = await cas.call('/v1/join', request, JOIN_ANSWER);
        const isOpen = sealedKeys !== null && openSealedTo(sealedKeys, deliveryKeys) !== undefined;
        return isOpen ? undefined : 'the data keys do not open for it';
      } catch (error) {
        if (!(error instanceof AvocadoError) || error.code !== 'ADMISSION_REFUSED') throw error;
        return error.message.replace(/^.*?refused by /, 'refused by ').replace(/: allowed.*$/s, '');
      }
    },
  };
}
