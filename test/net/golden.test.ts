/**
 * The bytes on the wire, as kept in golden/wire-v<version>.json. They change only together with the wire version and
 * docs/wire.md; `UPDATE_GOLDEN=1 npm test -- golden` writes them anew.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WIRE_VERSION } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { messageBytes, messageEnvelopeBytes, typeOf } from '../../src/protocol/messages.ts';
import {
  CERTIFICATE_GRANTS,
  clientMessages,
  EPOCH,
  GoldenWorld,
  partAnswers,
  partRequests,
  recordGolden,
  replicaMessages,
  rmwAnswers,
  rmwRequests,
  scanAnswers,
  scanRequests,
} from './golden-recording.ts';
import { verifyCertificate } from '../../src/trust/certificate.ts';
import { parseGrants } from '../../src/trust/grant-text.ts';
import { CLUSTER_ID, keyPairOf } from './endpoint-harness.ts';
import { callAnswers, callMessages } from './golden-calls.ts';
import { resolveAnswers, resolveRequests } from './golden-resolve.ts';
import type { Golden } from './golden-recording.ts';

/** From dist/test/net/. */
const FILE = fileURLToPath(new URL(`../../../test/net/golden/wire-v${WIRE_VERSION}.json`, import.meta.url));

const recorded = Object.fromEntries(SECURITY_MODES.map((mode) => [mode, recordGolden(mode)]));
if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(FILE, `${JSON.stringify(recorded, null, 2)}\n`);
assert.ok(existsSync(FILE), 'there are golden packets for each wire version: run with UPDATE_GOLDEN=1 once');
const kept = JSON.parse(readFileSync(FILE, 'utf8')) as Record<SecurityMode, Golden>;

for (const mode of SECURITY_MODES) {
  test(`should send the same bytes as ever from the same inputs, in mode ${mode}`, () => {
    assert.deepEqual(recorded[mode], kept[mode]);
  });

  test(`should read from the kept datagrams the messages that went in, in mode ${mode}`, () => {
    const golden = new GoldenWorld(mode);
    const { world, client, replica } = golden;
    const [from, to] = [client.transport, replica.transport];
    const deliver = (name: string, a: typeof from, b: typeof to) => {
      const bytes = Uint8Array.from(Buffer.from(kept[mode].packets[name]!, 'hex'));
      world.network.inject({ fromHost: a.host, fromPort: a.port, toHost: b.host, toPort: b.port, bytes });
      world.run(2);
    };
    golden.received.length = 0;
    deliver('data, requests', from, to);
    deliver('data, answers', to, from);
    deliver('data, parts', from, to);
    deliver('data, progress', to, from);
    deliver('data, more parts', from, to);
    deliver('data, answers to parts', to, from);
    deliver('data, read-modify-writes', from, to);
    deliver('data, answers to read-modify-writes', to, from);
    deliver('data, calls', from, to);
    deliver('data, answers to calls', to, from);
    deliver('data, scans', from, to);
    deliver('data, answers to scans', to, from);
    deliver('data, RESOLVE and COUNTERS', from, to);
    deliver('data, answers to RESOLVE and COUNTERS', to, from);
    assert.deepEqual(
      golden.received,
      [
        { at: 'replica', messages: clientMessages(mode) },
        { at: 'client', messages: replicaMessages(mode) },
        { at: 'replica', messages: partRequests(mode).first },
        { at: 'client', messages: partAnswers(mode).first },
        { at: 'replica', messages: partRequests(mode).rest },
        { at: 'client', messages: partAnswers(mode).rest },
        { at: 'replica', messages: rmwRequests(mode) },
        { at: 'client', messages: rmwAnswers(mode) },
        { at: 'replica', messages: callMessages() },
        { at: 'client', messages: callAnswers() },
        { at: 'replica', messages: scanRequests() },
        { at: 'client', messages: scanAnswers(mode) },
        { at: 'replica', messages: resolveRequests() },
        { at: 'client', messages: resolveAnswers() },
      ].map(({ at, messages }) => ({
        at,
        epoch: EPOCH,
        control: messages.map(({ control }) => hexOfWords(control)).join(''),
        value: messages.map(({ value }) => Buffer.from(value).toString('hex')).join(''),
      })),
    );
    client.assertDrops({});
  });

  test(`should find each type of message in them, in mode ${mode}`, () => {
    const [requests, answers] = [partRequests(mode), partAnswers(mode)];
    const parts = [...requests.first, ...requests.rest, ...answers.first, ...answers.rest];
    const rmws = [...rmwRequests(mode), ...rmwAnswers(mode), ...callMessages(), ...callAnswers()];
    const scans = [...scanRequests(), ...scanAnswers(mode)];
    const resolves = [...resolveRequests(), ...resolveAnswers()];
    const all = [...clientMessages(mode), ...replicaMessages(mode), ...parts, ...rmws, ...scans, ...resolves];
    const types = all.map(({ control, value }) => {
      assert.equal(messageBytes(control, 0, control.length, value.length), control.length * 4);
      assert.equal((messageEnvelopeBytes(control, 0) + 7) & ~7, value.length);
      return typeOf(control, 0);
    });
    assert.deepEqual(
      [...new Set(types)].toSorted((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 32, 33, 40, 41, 42, 43, 44, 45, 46, 47, 48],
    );
  });
}

test('should lay out clear-text parts as docs/wire.md says', () => {
  for (const mode of SECURITY_MODES) {
    const bytes = (name: string) => Buffer.from(kept[mode].packets[name]!, 'hex');
    const modeByte = SECURITY_MODES.indexOf(mode);
    const request = bytes('request');
    assert.deepEqual([...request.subarray(0, 4)], [2, WIRE_VERSION, modeByte, 0]);
    assert.ok(
      request.subarray(-16).every((byte) => byte === 0),
      'no cookie yet: mac2 is zero',
    );
    const proved = bytes('request with cookie');
    assert.deepEqual(proved.subarray(0, -16), request.subarray(0, -16));
    assert.ok(proved.subarray(-16).some((byte) => byte !== 0));
    const cookie = bytes('cookie');
    assert.equal(cookie.length, 40);
    assert.deepEqual([...cookie.subarray(0, 4)], [4, WIRE_VERSION, modeByte, 0]);
    assert.deepEqual(cookie.subarray(4, 8), request.subarray(4, 8), 'it goes to the session that asked');
    assert.deepEqual(cookie.subarray(24, 40), request.subarray(-32, -16), 'it quotes mac1');
    const response = bytes('response');
    assert.deepEqual([...response.subarray(0, 4)], [3, WIRE_VERSION, modeByte, 0]);
    assert.deepEqual(response.subarray(4, 8), request.subarray(4, 8));
    const data = bytes('data, requests');
    assert.deepEqual([...data.subarray(0, 4)], [1, WIRE_VERSION, 0, 0]);
    assert.deepEqual(data.subarray(4, 8), response.subarray(8, 12), "it names the receiver's session");
    assert.equal(data.readBigUint64LE(8), 1n, 'the first datagram has number 0');
    assert.equal(data.readUint32LE(20), 0, 'it grants nothing: it asks');
    assert.equal(bytes('data, answers').readUint32LE(20), 159_744, 'three quarters of its buffer');
    const hint = bytes('hint no-session');
    assert.deepEqual([...hint.subarray(0, 4)], [5, WIRE_VERSION, modeByte, 0]);
  }
});

test('should find in the kept certificate the grants that docs/wire.md shows', () => {
  for (const mode of SECURITY_MODES) {
    const input = (name: string) => Uint8Array.from(Buffer.from(kept[mode].inputs[name] as string, 'hex'));
    const verdict = verifyCertificate(input('certificate of client'), {
      clusterId: CLUSTER_ID,
      clusterPublicKey: input('public key of the cluster'),
      staticKey: keyPairOf('client').publicKey,
      nowSeconds: 3_999_999_999,
    });
    assert.deepEqual(verdict.ok && verdict.identity.permissions.grants, parseGrants(CERTIFICATE_GRANTS));
    const { packets } = kept[mode];
    const sent =
      mode === 'plaintext' && packets['request']!.includes(kept[mode].inputs['certificate of client'] as string);
    assert.equal(sent, mode === 'plaintext', 'only there it is in clear');
  }
});

function hexOfWords(words: Int32Array): string {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength).toString('hex');
}
