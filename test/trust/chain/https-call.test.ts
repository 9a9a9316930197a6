/** Whoever answers at an address may be a stranger: what he says is shown, and does nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTlsIdentity } from '../../../workers/tls-identity.ts';
import { PinnedServer } from '../../../src/trust/chain/https-call.ts';
import { openService, Refused, route } from '../../../src/trust/chain/https-service.ts';
import { EMPTY_REQUEST } from '../../../src/trust/chain/messages.ts';

test('should show a refusal without what moves a terminal or begins another line of a log', async (t) => {
  const service = await openService({
    host: '127.0.0.1',
    port: 0,
    tls: createTlsIdentity('a stranger', Date.now()),
    requestsPerSecond: 10,
    onError: () => {},
    routes: new Map([
      [
        '/v1/identity',
        route(EMPTY_REQUEST, () => {
          throw new Refused('refused', 'no\u001b[2J\n2026-11-28T00:00:00Z cas admitted\u009b1m');
        }),
      ],
    ]),
  });
  t.after(() => service.close());
  const server = new PinnedServer('CAS', service.url);
  t.after(() => server.close());
  await assert.rejects(server.callRaw('/v1/identity', {}, { timeoutMs: 5_000 }), {
    code: 'ADMISSION_REFUSED',
    message: `CAS ${service.url}: no.[2J.2026-11-28T00:00:00Z cas admitted.1m`,
  });
});
