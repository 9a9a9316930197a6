import { z } from 'zod';
import { sign, verify } from '../../../workers/signing.ts';
import { base64Bytes } from '../evidence/strict-json.ts';

/**
 * A statement as JSON text with an Ed25519 signature over exactly this text, so that nothing depends on how JSON is
 * spaced or ordered. The purpose is signed as well: no statement can be shown for one of another kind.
 */
export interface SignedDocument {
  readonly content: string;
  readonly signature: Uint8Array;
}

export type DocumentPurpose =
  | 'las certificate'
  | 'voucher'
  | 'revocations'
  | 'data keys'
  | 'state witness'
  | 'operator command'
  | 'audit entry';

/** The longest is a list of revocations. */
const CONTENT_CHARS_MAX = 512 * 1024;
const SIGNATURE_BYTES = 64;

export const SIGNED_DOCUMENT = z.strictObject({
  content: z.string().max(CONTENT_CHARS_MAX),
  signature: base64Bytes(SIGNATURE_BYTES, SIGNATURE_BYTES),
});

export function signDocument(purpose: DocumentPurpose, content: object, secretKey: Uint8Array): SignedDocument {
  const text = JSON.stringify(content);
  return { content: text, signature: sign(signedBytes(purpose, text), secretKey) };
}

/** As it goes into a message or a file. */
export function documentJson(document: SignedDocument): { content: string; signature: string } {
  return { content: document.content, signature: Buffer.from(document.signature).toString('base64') };
}

/** Undefined when the key has not signed it for this purpose, or it is not of the schema. Never throws on input. */
export function openDocument<T>(
  document: SignedDocument,
  purpose: DocumentPurpose,
  schema: z.ZodType<T>,
  publicKey: Uint8Array,
): T | undefined {
  if (!verify(document.signature, signedBytes(purpose, document.content), publicKey)) return undefined;
  return contentOf(document, schema);
}

/** Before a key is known: which key it should be is said in the content. Nothing else in it may be used. */
export function contentOf<T>(document: SignedDocument, schema: z.ZodType<T>): T | undefined {
  let content: unknown;
  try {
    content = JSON.parse(document.content);
  } catch {
    return undefined;
  }
  const result = schema.safeParse(content);
  return result.success ? result.data : undefined;
}

function signedBytes(purpose: DocumentPurpose, content: string): Uint8Array {
  return new TextEncoder().encode(`avocado ${purpose} 1\0${content}`);
}
