import { generateSigningKeyPair, generateStaticKeyPair } from '../../workers/signing.ts';
import type { KeyPair } from '../../workers/signing.ts';
import { openSealedTo } from '../../workers/secret-box.ts';
import { createTlsIdentity } from '../../workers/tls-identity.ts';
import { AvocadoError } from '../../src/errors.ts';
import { writeEvidence } from '../../src/trust/evidence/evidence-file.ts';
import { CasConnection, parseCasReference } from '../../src/trust/chain/cas-connection.ts';
import { accessOf, judgementOf, openPlatform } from '../../src/trust/chain/chain-access.ts';
import type { ChainAccess, PlatformChoice } from '../../src/trust/chain/chain-access.ts';
import { askVoucher, localProof } from '../../src/trust/chain/join-cluster.ts';
import { JOIN_ANSWER, REGISTER_ANSWER, VOUCHER } from '../../src/trust/chain/messages.ts';
import { reportDataFor } from '../../src/trust/chain/report-data.ts';
import type { JoinClaim } from '../../src/trust/chain/report-data.ts';
import { contentOf, documentJson, signDocument } from '../../src/trust/chain/signed-document.ts';
import type { SignedDocument } from '../../src/trust/chain/signed-document.ts';
import { hexOf } from '../../src/trust/hex.ts';
import { DEFAULT_PROFILE } from '../../src/trust/profile-name.ts';
import type { Finding } from './attack.ts';
import { UNNOTICED } from './attack.ts';
import type { Scene } from './scene.ts';

/** The way into a cluster by its CAS, as an attacker has it: as a process that joins, and as the LAS of a host. */
export interface Door {
  nonce(): Promise<string>;
  claim(as?: Pick<JoinClaim, 'role' | 'memberIndex'>): Promise<JoinClaim>;
  /** Of the genuine LAS. @param enclave Other than this build as it should run. */
  voucher(claim: JoinClaim, enclave?: Enclave): Promise<SignedDocument>;
  /** The same with the attacker's signature. */
  forged(voucher: SignedDocument): SignedDocument;
  /** Asks for certificate and data keys. */
  join(claim: JoinClaim, voucher: SignedDocument): Promise<Answer>;
  /** What a LAS with new keys says of itself. */
  registration(): Promise<Registration>;
  /** That CAS's vendor path accepts, of a genuine process, for exactly this. */
  evidence(registration: Registration, enclave?: Enclave): Promise<string>;
  /** Asks to be attested as a LAS. */
  register(registration: Registration, evidence: string): Promise<Answer>;
}

type Enclave = Pick<PlatformChoice, 'measurement' | 'debug'>;

interface Registration {
  readonly nonce: string;
  readonly url: string;
  /** DER. */
  readonly tlsCertificate: Uint8Array;
  readonly voucherKey: string;
}

/** Of CAS. */
export interface Answer {
  readonly asked: 'join' | 'attestation as LAS';
  readonly said: string;
  /** What the attacker has got; undefined when it was refused. */
  readonly harm: string | undefined;
}

export async function atDoor(scene: Scene, attempt: (door: Door) => Promise<readonly Answer[]>): Promise<Finding> {
  const access = accessOf(scene.directory);
  if (access.las === undefined) throw new AvocadoError('ADMISSION_REFUSED', 'this cluster has no LAS');
  const connect = (): Promise<CasConnection> =>
    CasConnection.open(parseCasReference(access.cas), judgementOf(access, openPlatform(access)));
  const cas = await connect();
  try {
    const answers = await attempt(doorOf(cas, { ...access, las: access.las }, generateStaticKeyPair()));
    const after = await connect();
    after.close();
    const counted = {
      where: 'CAS',
      what: 'entries of the audit log',
      before: cas.document.auditCount,
      after: after.document.auditCount,
    };
    const harm = answers.find((answer) => answer.harm !== undefined)?.harm;
    return {
      harm: harm ?? (counted.after < counted.before + answers.length ? UNNOTICED : undefined),
      moved: [
        ...answers.map(({ asked, said }) => ({ where: 'attacker', what: asked, before: 'asked', after: said })),
        counted,
      ],
    };
  } finally {
    cas.close();
  }
}

/** Nobody has to listen there: CAS asks it when it writes its next state, and a LAS that is gone does as well. */
const FALSE_LAS_URL = 'https://127.0.0.1:9';

function doorOf(cas: CasConnection, access: ChainAccess & { readonly las: string }, deliveryKeys: KeyPair): Door {
  const tlsIdentity = createTlsIdentity('avocado las', Date.now());
  return {
    nonce: () => cas.nonce(),
    claim: async (as = { role: 'client', memberIndex: null }) => ({
      ...as,
      nonce: await cas.nonce(),
      staticKey: hexOf(generateStaticKeyPair().publicKey),
      deliveryKey: hexOf(deliveryKeys.publicKey),
      profile: as.role === 'client' ? DEFAULT_PROFILE : null,
    }),
    voucher: async (claim, enclave) => {
      const platform = openPlatform({ ...access, ...enclave });
      return askVoucher(access.las, { ...claim, proof: await localProof(claim, platform) });
    },
    forged: (voucher) => signDocument('voucher', contentOf(voucher, VOUCHER)!, generateSigningKeyPair().secretKey),
    join: (claim, voucher) =>
      answerOf('join', async () => {
        const request = {
          ...claim,
          wantsDataKeys: true,
          enrolment: null,
          proof: { type: 'voucher', voucher: documentJson(voucher) },
        };
        const { sealedKeys } = await cas.call('/v1/join', request, JOIN_ANSWER);
        const isOpen = sealedKeys !== null && openSealedTo(sealedKeys, deliveryKeys) !== undefined;
        return isOpen ? 'CAS gave it the data keys' : 'CAS gave it a certificate';
      }),
    registration: async () => ({
      nonce: await cas.nonce(),
      url: FALSE_LAS_URL,
      tlsCertificate: tlsIdentity.certificateDer,
      voucherKey: hexOf(generateSigningKeyPair().publicKey),
    }),
    evidence: async ({ nonce, url, tlsCertificate, voucherKey }, enclave) => {
      const { provider } = openPlatform({ ...access, ...enclave });
      const reportData = reportDataFor('las registration', [nonce, tlsCertificate, voucherKey, url]);
      return writeEvidence(await provider.makeEvidence(reportData));
    },
    register: ({ tlsCertificate, ...rest }, evidence) =>
      answerOf('attestation as LAS', async () => {
        const request = { ...rest, tlsCertificate: Buffer.from(tlsCertificate).toString('base64'), evidence };
        await cas.call('/v1/las', request, REGISTER_ANSWER);
        return 'CAS attested it as a LAS, which may vouch for anything';
      }),
  };
}

/** @param ask Returns what CAS gave. */
async function answerOf(asked: Answer['asked'], ask: () => Promise<string>): Promise<Answer> {
  try {
    return { asked, said: 'let in', harm: await ask() };
  } catch (error) {
    if (!(error instanceof AvocadoError) || error.code !== 'ADMISSION_REFUSED') throw error;
    return { asked, said: ruleOf(error), harm: undefined };
  }
}

/** What CAS allows and has seen is long. */
export function ruleOf({ message }: AvocadoError): string {
  return message.replace(/^.*?refused by /, 'refused by ').replace(/: allowed.*$/s, '');
}
