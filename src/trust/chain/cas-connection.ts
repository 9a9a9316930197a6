import { randomBytes } from '../../../workers/signing.ts';
import { AvocadoError } from '../../errors.ts';
import { bytesOfHex, hexOf } from '../hex.ts';
import { readEvidence } from '../evidence/evidence-file.ts';
import type { MeasuredFacts, Refusal } from '../evidence/evidence.ts';
import { refusalText } from './admission.ts';
import { parseAnswer, PinnedServer } from './https-call.ts';
import { CAS_DOCUMENT, IDENTITY_ANSWER, NONCE_ANSWER } from './messages.ts';
import type { CasDocument } from './messages.ts';
import type { EvidenceJudge } from './platform.ts';
import { reportDataFor } from './report-data.ts';
import type { z } from 'zod';
import { parseStrictJson } from '../evidence/strict-json.ts';

/** Which CAS: where it is, and the key of the cluster that it must have. */
export interface CasReference {
  readonly url: string;
  readonly clusterPublicKey: string;
}

/** @throws AvocadoError INVALID_ARGUMENT. */
export function parseCasReference(text: string): CasReference {
  const match = /^(https:\/\/[A-Za-z0-9.:[\]_-]{1,280})\/?#([0-9a-f]{64})$/.exec(text);
  if (match === null) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      'a CAS is named as it prints it at its start, https://host:port#<64 hex digits of the cluster key>',
    );
  }
  return { url: match[1]!, clusterPublicKey: match[2]! };
}

/** How CAS itself is judged, before it is told or believed anything. */
export interface CasJudgement {
  readonly judge: EvidenceJudge;
  /** By a policy, or as the same build as this process. */
  readonly policy: (facts: MeasuredFacts, reportData: Uint8Array) => Promise<Refusal | undefined>;
  readonly nowMs: () => number;
}

const TIMEOUT_MS = 10_000;

export interface CasIdentity {
  /** The document, as text; CAS_DOCUMENT. */
  readonly text: string;
  readonly evidence: string;
  /** DER, that the server showed. */
  readonly certificate: Uint8Array;
  /** What the evidence must bind, if it is this server's for this question. */
  readonly reportData: Uint8Array;
}

/** Nothing in the answer is true before its evidence is verified. @throws AvocadoError TRUST_UNAVAILABLE, ADMISSION_REFUSED. */
export async function askIdentity({ url }: Pick<CasReference, 'url'>): Promise<CasIdentity> {
  const nonce = hexOf(randomBytes(32));
  const server = new PinnedServer('CAS', url);
  try {
    const { text: answer, certificate } = await server.callRaw('/v1/identity', { nonce }, { timeoutMs: TIMEOUT_MS });
    const { document: text, evidence } = parseAnswer(answer, IDENTITY_ANSWER, url);
    return { text, evidence, certificate, reportData: reportDataFor('cas identity', [nonce, certificate, text]) };
  } finally {
    server.close();
  }
}

/** @throws AvocadoError EVIDENCE_FILES. */
export function parseDocument(text: string): CasDocument {
  return parseStrictJson(text, CAS_DOCUMENT, "CAS's document", text.length);
}

/** A CAS that was verified: calls go to exactly the server whose certificate its evidence binds. */
export class CasConnection {
  readonly document: CasDocument;
  readonly facts: MeasuredFacts;
  readonly #server: PinnedServer;

  private constructor(document: CasDocument, facts: MeasuredFacts, server: PinnedServer) {
    this.document = document;
    this.facts = facts;
    this.#server = server;
  }

  /** @throws AvocadoError ADMISSION_REFUSED when it is not what it should be, TRUST_UNAVAILABLE. */
  static async open(reference: CasReference, judgement: CasJudgement): Promise<CasConnection> {
    const { text, evidence, certificate, reportData } = await askIdentity(reference);
    const fail = (reason: string): AvocadoError =>
      new AvocadoError('ADMISSION_REFUSED', `${reference.url} is not to be trusted: ${reason}`);
    let document: CasDocument;
    let verification;
    try {
      document = parseDocument(text);
      verification = judgement.judge.verify(readEvidence(evidence, 'its evidence'), judgement.nowMs());
    } catch (error) {
      throw fail((error as Error).message);
    }
    if (!verification.ok) throw fail(refusalText(verification));
    const refusal = await judgement.policy(verification.facts, reportData);
    if (refusal !== undefined) throw fail(refusalText(refusal));
    if (document.clusterPublicKey !== reference.clusterPublicKey) {
      throw fail(`it is the CAS of another cluster, ${document.clusterPublicKey}`);
    }
    return new CasConnection(document, verification.facts, new PinnedServer('CAS', reference.url, certificate));
  }

  get clusterPublicKey(): Uint8Array {
    return bytesOfHex(this.document.clusterPublicKey);
  }

  async nonce(): Promise<string> {
    return (await this.call('/v1/nonce', {}, NONCE_ANSWER)).nonce;
  }

  call<T>(path: string, content: object, schema: z.ZodType<T>): Promise<T> {
    return this.#server.call(path, content, schema, { timeoutMs: TIMEOUT_MS });
  }

  close(): void {
    this.#server.close();
  }
}
