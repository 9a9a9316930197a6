import { Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { certificatePem } from '../../../workers/tls-identity.ts';
import { AvocadoError } from '../../errors.ts';
import { parseStrictJson } from '../evidence/strict-json.ts';

/**
 * Calls of CAS and LAS. Names and authorities of certificates mean nothing here: a connection is good when the server
 * has exactly the certificate that evidence, or a statement of CAS, has named.
 */
export interface CallOptions {
  readonly timeoutMs: number;
}

/** A configuration and the longest list of revocations. */
const ANSWER_BYTES_MAX = 1024 * 1024;
const REFUSAL = z.object({ refused: z.string().max(2_048), later: z.boolean() });
/** Of the start of an answer that is none of ours. */
const SHOWN_CHARS = 80;

export interface Answer {
  readonly text: string;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** One server with one certificate; connections are kept for the next call. */
export class PinnedServer {
  readonly url: string;
  /** For people. */
  readonly #name: string;
  readonly #agent: Agent;

  /** @param certificate DER; undefined: any, whose bytes then come with the answer, and nothing secret may be sent. */
  constructor(service: 'CAS' | 'LAS', url: string, certificate?: Uint8Array) {
    this.url = url;
    this.#name = `${service} ${url}`;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 8,
      maxCachedSessions: 0,
      minVersion: 'TLSv1.3',
      ...(certificate === undefined
        ? { rejectUnauthorized: false }
        : { ca: certificatePem(certificate), rejectUnauthorized: true, checkServerIdentity: () => undefined }),
    });
  }

  /**
   * @throws AvocadoError ADMISSION_REFUSED with the server's reason, TRUST_UNAVAILABLE when it doesn't answer, answers
   * that it can't now, or is another.
   */
  async call<T>(path: string, content: object, schema: z.ZodType<T>, options: CallOptions): Promise<T> {
    const { text } = await this.callRaw(path, content, options);
    return parseAnswer(text, schema, this.url);
  }

  async callRaw(path: string, content: object, { timeoutMs }: CallOptions): Promise<Answer> {
    const body = Buffer.from(JSON.stringify(content));
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => reject(callError(this.#name, error));
      const sent = request(
        `${this.url}${path}`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: { 'content-type': 'application/json', 'content-length': body.length },
          signal: AbortSignal.timeout(timeoutMs),
        },
        (response) => {
          const certificate = Uint8Array.from((response.socket as TLSSocket).getPeerCertificate().raw ?? []);
          const parts: Buffer[] = [];
          let byteCount = 0;
          response.on('data', (part: Buffer) => {
            byteCount += part.length;
            if (byteCount > ANSWER_BYTES_MAX) response.destroy(new Error('its answer is too long'));
            else parts.push(part);
          });
          response.on('error', fail);
          response.on('end', () => {
            const text = Buffer.concat(parts).toString('utf8');
            if (response.statusCode === 200) resolve({ text, certificate });
            else reject(refusalOf(this.#name, response.statusCode ?? 0, text));
          });
        },
      );
      sent.on('error', fail);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

export function parseAnswer<T>(text: string, schema: z.ZodType<T>, url: string): T {
  try {
    return parseStrictJson(text, schema, `the answer of ${url}`, ANSWER_BYTES_MAX);
  } catch (error) {
    throw new AvocadoError('ADMISSION_REFUSED', (error as Error).message, { cause: error });
  }
}

function callError(name: string, error: Error): AvocadoError {
  const code = (error as NodeJS.ErrnoException).code ?? error.name;
  const reason =
    code === 'DEPTH_ZERO_SELF_SIGNED_CERT' || code === 'SELF_SIGNED_CERT_IN_CHAIN'
      ? 'has another certificate than the one that was attested: it was started anew, or somebody else answers'
      : code === 'ABORT_ERR' || code === 'TimeoutError'
        ? 'does not answer in time'
        : `can't be reached (${code === 'Error' ? error.message : code}): start it, or wait until it is back`;
  return new AvocadoError('TRUST_UNAVAILABLE', `${name} ${reason}`, { cause: error });
}

function refusalOf(name: string, status: number, text: string): AvocadoError {
  try {
    const { refused, later } = REFUSAL.parse(JSON.parse(text));
    return new AvocadoError(later ? 'TRUST_UNAVAILABLE' : 'ADMISSION_REFUSED', `${name}: ${printable(refused)}`);
  } catch {
    const start = printable(text.slice(0, SHOWN_CHARS));
    return new AvocadoError(
      'ADMISSION_REFUSED',
      `${name} answered with status ${status}, not as avocado does: ${start}`,
    );
  }
}

/** Whoever answers may be a stranger; what he says goes to a terminal or a log. */
function printable(text: string): string {
  return text.replace(/[^ -~]/g, '.');
}

/** Whether the same call may do later: the other side was away, or said so. */
export function isLater(error: unknown): boolean {
  return error instanceof AvocadoError && error.code === 'TRUST_UNAVAILABLE';
}
