import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { z } from 'zod';
import type { TlsIdentity } from '../../../workers/tls-identity.ts';
import { AvocadoError } from '../../errors.ts';
import { parseStrictJson } from '../evidence/strict-json.ts';
import { RateLimit } from './rate-limit.ts';

/**
 * The HTTPS side of CAS and LAS: a few paths, JSON in and out by POST, everything bounded. Strangers reach it, so whatever
 * is wrong with a request ends in a refusal with a reason, and a mistake of ours in a refusal without one.
 */
export interface ServiceOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls: TlsIdentity;
  readonly routes: ReadonlyMap<string, Route>;
  readonly requestsPerSecond: number;
  /** A mistake of ours. */
  readonly onError: (error: unknown) => void;
}

export interface Route {
  handle(text: string, address: string): Promise<object>;
}

export interface RunningService {
  readonly url: string;
  close(): Promise<void>;
}

/** Evidence in JSON in JSON, with all certificates. */
export const REQUEST_BYTES_MAX = 320 * 1024;
const CONNECTIONS_MAX = 512;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 5_000;

/** A request that is refused for a reason that its sender may know. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly kind: 'refused' | 'later';

  /** @param kind later: the same request may do when the reason is gone. */
  constructor(kind: 'refused' | 'later', reason: string) {
    super(reason);
    this.kind = kind;
  }
}

export function route<T>(
  schema: z.ZodType<T>,
  handle: (request: T, address: string) => Promise<object> | object,
): Route {
  return {
    handle: async (text, address) => handle(parseStrictJson(text, schema, 'the request', REQUEST_BYTES_MAX), address),
  };
}

/** @throws AvocadoError PORT_IN_USE, INVALID_ARGUMENT. */
export async function openService(options: ServiceOptions): Promise<RunningService> {
  const { host, port, tls, routes, requestsPerSecond, onError } = options;
  const rate = new RateLimit({ perSecond: requestsPerSecond });
  const server = createServer(
    {
      key: tls.privateKeyPem,
      cert: tls.certificatePem,
      minVersion: 'TLSv1.3',
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      handshakeTimeout: HEADERS_TIMEOUT_MS,
    },
    (request, response) => {
      const address = request.socket.remoteAddress ?? '';
      const answered = rate.take(address, performance.now())
        ? answer(routes, request, address)
        : Promise.reject(new Refused('later', 'too many requests from this host: wait a second'));
      answered.then(
        (content) => reply(response, 200, content),
        (error: unknown) => replyError(response, error, onError),
      );
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  // Whoever speaks no TLS or HTTP is not worth a line; the socket is closed by default.
  server.on('tlsClientError', () => {});
  await listen(server, host, port);
  server.on('error', onError);
  const { port: boundPort } = server.address() as AddressInfo;
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EADDRINUSE') {
      throw new AvocadoError('PORT_IN_USE', `TCP port ${port} of ${host} is in use: give another one`, {
        cause: error,
      });
    }
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `cannot listen at TCP ${host}:${port} (${code}): give an address of this machine`,
      { cause: error },
    );
  }
}

async function answer(routes: ReadonlyMap<string, Route>, request: IncomingMessage, address: string): Promise<object> {
  const found = request.method === 'POST' ? routes.get(request.url ?? '') : undefined;
  if (found === undefined) {
    throw new Refused('refused', `there is no such request; known are POST ${[...routes.keys()].join(', ')}`);
  }
  return found.handle(await readBody(request), address);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let byteCount = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    byteCount += part.length;
    if (byteCount > REQUEST_BYTES_MAX) throw new Refused('refused', `a request has ${REQUEST_BYTES_MAX} bytes at most`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function replyError(response: ServerResponse, error: unknown, onError: (error: unknown) => void): void {
  if (error instanceof Refused) {
    reply(response, error.kind === 'later' ? 503 : 403, { refused: error.message, later: error.kind === 'later' });
  } else if (error instanceof AvocadoError && error.code === 'EVIDENCE_FILES') {
    reply(response, 400, { refused: error.message, later: false });
  } else {
    // A connection that its peer has cut is no mistake of ours.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') onError(error);
    reply(response, 500, { refused: 'the service failed; its log says why', later: true });
  }
}

function reply(response: ServerResponse, status: number, content: object): void {
  if (response.destroyed) return;
  const bytes = Buffer.from(JSON.stringify(content));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    ...(status !== 200 && { connection: 'close' }),
  });
  response.end(bytes);
}
