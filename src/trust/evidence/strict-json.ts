import { z } from 'zod';
import { AvocadoError } from '../../errors.ts';

/** JSON of strangers and of operators: bounded, no field too many, and an error that names the place. */

/**
 * @param what Begins the error's line, say "the policy" or a path.
 * @throws AvocadoError EVIDENCE_FILES.
 */
export function parseStrictJson<T>(text: string, schema: z.ZodType<T>, what: string, charsMax: number): T {
  if (text.length > charsMax) {
    throw new AvocadoError('EVIDENCE_FILES', `${what} has ${text.length} characters, ${charsMax} at most are read`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new AvocadoError('EVIDENCE_FILES', `${what} is not JSON: ${withoutContent((error as Error).message)}`);
  }
  const result = schema.safeParse(content);
  if (result.success) return result.data;
  // The first one is enough to go on; hostile input may have any number.
  const [issue] = result.error.issues;
  const place = issue === undefined || issue.path.length === 0 ? '' : `, ${describePath(issue.path)}`;
  throw new AvocadoError('EVIDENCE_FILES', `${what} is wrong${place}: ${cut(issue?.message ?? 'it does not fit')}`);
}

/** Node quotes what stands around the place, which may be a key. */
function withoutContent(message: string): string {
  return message.replace(/,? (?:\.\.\.)?".*"(?:\.\.\.)? is not valid JSON$/s, ' is out of place');
}

/** Bytes in base64 (RFC 4648, 4) in its one spelling: padded, no spaces, no loose bits. */
export function base64Bytes(bytesMin: number, bytesMax: number): z.ZodType<Uint8Array> {
  return z
    .string()
    .max(Math.ceil(bytesMax / 3) * 4, `must be ${bytesMax} bytes at most, in base64`)
    .transform((text, context): Uint8Array => {
      const bytes = Buffer.from(text, 'base64');
      if (bytes.toString('base64') === text && bytes.length >= bytesMin && bytes.length <= bytesMax) {
        return new Uint8Array(bytes);
      }
      context.addIssue({ code: 'custom', message: `must be ${bytesMin} to ${bytesMax} bytes in base64` });
      return z.NEVER;
    });
}

/** Lower case, so that values compare as text. */
export function hexOfBytes(byteCount: number): z.ZodType<string> {
  return z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${2 * byteCount}}$`), `must be ${byteCount} bytes in lower-case hexadecimal`);
}

function describePath(path: readonly PropertyKey[]): string {
  return cut(
    path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`)).join(''),
  );
}

/** Names and values in a message come from the input. */
const MESSAGE_CHARS_MAX = 300;

function cut(text: string): string {
  return text.length <= MESSAGE_CHARS_MAX ? text : `${text.slice(0, MESSAGE_CHARS_MAX)}...`;
}
