/**
 * Proves that the attacks are real: each is run by the command line of a copy of the built files that lacks the one
 * defence against it, and must say there that it succeeded. Against plaintext-client there is no such copy: a server has
 * no code for another mode than its own, and without the check of the mode byte the handshake fails.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { SecurityMode } from '../../net/mode.ts';
import { whyNoAccess } from '../../bench/attack/process-memory.ts';
import type { AttackReport } from '../../bench/attack/report.ts';
import { finished } from '../cli/avocado-process.ts';
import { withMutatedCopy } from '../tooling/mutated-copy.ts';
import type { Substitution } from '../tooling/mutated-copy.ts';

interface Mutant {
  /** The defence that is gone. */
  readonly without: string;
  readonly mode: SecurityMode;
  readonly substitutions: readonly Substitution[];
  /** Keys from files: a CAS would not even let the replica in. */
  readonly isStatic?: true;
  /** By attack, what the attacker must have got. */
  readonly harm: Readonly<Record<string, RegExp>>;
}

const PARTS = ['net', 'workers', 'src', 'bench'];

/** Decrypts as the real one does, and finds everything right. */
const OPEN_UNCHECKED: Substitution = {
  file: 'workers/sodium.js',
  find: 'export function aeadOpen(',
  replace: `export function aeadOpenUnchecked(clear, sealed, _associated, nonce, key) {
    const length = clear.byteLength;
    if (length > 0) sodium.crypto_stream_chacha20_ietf_xor_ic(clear, sealed.subarray(0, length), nonce, 1, key);
    return true;
}
export function aeadOpen(`,
};
const uncheckedIn = (file: string): Substitution[] => [
  OPEN_UNCHECKED,
  { file, find: ' aeadOpen,', replace: ' aeadOpenUnchecked as aeadOpen,' },
];

const MUTANTS: readonly Mutant[] = [
  {
    without: 'the check of values’ tags',
    mode: 'secure',
    substitutions: uncheckedIn('workers/value-cipher.js'),
    harm: {
      'flip-value': /a get gives a value that was not put last/,
      'swap-values': /a get gives a value that was not put last/,
      'old-value': /a get gives a value that was not put last/,
    },
  },
  {
    without: 'the check of datagrams’ tags',
    mode: 'authenticated',
    substitutions: uncheckedIn('workers/datagram-cipher.js'),
    harm: {
      'forge-datagrams': /a get fails: .*every copy of the newest value failed its check/,
      'change-in-flight': /every copy of the newest value failed its check/,
      'replay-handshake': /took the session for live/,
    },
  },
  {
    without: 'the replay window',
    mode: 'secure',
    substitutions: [
      { file: 'net/replay-window.js', find: 'isNew(packetNumber) {', replace: 'isNew(packetNumber) { return true;' },
    ],
    harm: { 'replay-datagrams': /acted on them and sent \d+ answers/ },
  },
  {
    without: 'the signature of certificates',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/certificate.js',
        find: 'if (!verify(signature, signedBytes(certificate), rules.clusterPublicKey)) {',
        replace: 'if (false) {',
      },
    ],
    harm: { 'foreign-key': /took it for a client, and it deleted a key/ },
  },
  {
    without: 'the ceiling of counters',
    mode: 'secure',
    substitutions: [
      { file: 'src/protocol/counter-guard.js', find: 'if (counter > this.#ceiling)', replace: 'if (false)' },
    ],
    isStatic: true,
    harm: { 'poisoned-counter': /operations of honest clients fail: STAMPS_EXHAUSTED/ },
  },
  {
    without: 'the check of permissions',
    mode: 'secure',
    substitutions: [
      { file: 'src/protocol/replica.js', find: 'permissions.isAll || isPermitted(', replace: 'true || isPermitted(' },
    ],
    harm: { 'prefix-overstepped': /a get finds no value any more/ },
  },
  {
    without: 'the check of permissions of calls',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/coordinated/call-server.js',
        find: 'if (!isCallPermitted(',
        replace: 'if (false && !isCallPermitted(',
      },
    ],
    isStatic: true,
    harm: { 'prefix-overstepped': /it read the value, by the coordinated route/ },
  },
  {
    without: 'the check of writer ids',
    mode: 'secure',
    substitutions: [{ file: 'src/protocol/write-acceptor.js', find: 'if (isFresh && !isOwn)', replace: 'if (false)' }],
    isStatic: true,
    harm: { 'anothers-writer-id': /a get finds no value any more/ },
  },
  {
    without: 'incarnations',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/server/replica-node.js',
        find: 'toHex(options.randomBytes(INCARNATION_BYTES))',
        replace: 'toHex(new Uint8Array(INCARNATION_BYTES).fill(memberIndex + 1))',
      },
    ],
    isStatic: true,
    harm: { 'empty-replica': /the empty replica voted: a get says no value where one was acknowledged/ },
  },
  {
    without: 'measurements in policies',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/evidence/policy.js',
        find: "yield oneOf('measurement', entry.measurements, facts.measurement);",
        replace: 'yield undefined;',
      },
    ],
    harm: { 'changed-build': /CAS gave it the data keys/ },
  },
  {
    without: 'the debug flag in policies',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/evidence/policy.js',
        find: "if (entry.debug === 'forbidden')",
        replace: 'if (false)',
      },
    ],
    harm: { 'debug-enclave': /CAS gave it the data keys/ },
  },
  {
    without: 'the signature of vouchers',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/chain/admission.js',
        find: "const voucher = openDocument(document, 'voucher', VOUCHER, bytesOfHex(las.voucherKey));",
        replace: 'const voucher = named;',
      },
    ],
    harm: { 'forged-las': /CAS gave it the data keys/ },
  },
  {
    without: 'the memory of used nonces',
    mode: 'secure',
    substitutions: [{ file: 'src/trust/chain/nonces.js', find: 'if (this.#used.has(nonce))', replace: 'if (false)' }],
    harm: { 'replayed-voucher': /CAS gave it the data keys/ },
  },
  {
    without: 'what reports bind',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/chain/admission.js',
        find: '{ role: request.role, reportData: joinReportData(request) }',
        replace: '{ role: request.role }',
      },
      { file: 'src/trust/chain/las-registry.js', find: "{ role: 'las', reportData }", replace: "{ role: 'las' }" },
    ],
    harm: { 'other-key': /CAS gave it the data keys/, 'replayed-evidence': /CAS attested it as a LAS/ },
  },
  {
    without: 'places that are taken',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/chain/admission.js',
        find: 'return judgeMember(request, state) ?? judgeProfile(',
        replace: 'return judgeProfile(',
      },
    ],
    harm: { 'second-member': /CAS gave it the data keys/ },
  },
  {
    without: "the members' look at revocations",
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/chain/cas-authority.js',
        find: 'if (this.#revoked.has(hexOf(staticKey)))',
        replace: 'if (false)',
      },
    ],
    harm: { 'revoked-client': /the replicas still take it for a client/ },
  },
  {
    without: 'an end of the sessions of whoever is revoked',
    mode: 'secure',
    substitutions: [{ file: 'src/trust/chain/cas-authority.js', find: 'this.onRevoked?.();', replace: '' }],
    harm: { 'revoked-client': /sessions that it had open go on/ },
  },
  {
    without: 'keys of members in the list of revocations',
    mode: 'secure',
    substitutions: [
      { file: 'src/trust/chain/revocations.js', find: 'isMemberOut(state, member) ?', replace: 'false ?' },
    ],
    harm: { 'revoked-las': /clients go on in the sessions that they have with it/ },
  },
  {
    without: 'witnesses',
    mode: 'secure',
    substitutions: [
      {
        file: 'src/trust/chain/state-witness.js',
        find: 'function judgeAnswers(answers, own, clusterPublicKey, agreed) {',
        replace: "function judgeAnswers(answers, own, clusterPublicKey, agreed) { return { type: 'held' };",
      },
    ],
    harm: { 'old-cas-state': /CAS admitted the revoked client again/ },
  },
];

suite('attacks succeed where their defence is gone', { concurrency: 2 }, () => {
  for (const { without, mode, isStatic, substitutions, harm } of MUTANTS) {
    const names = Object.keys(harm);
    test(`without ${without}: ${names.join(', ')}`, async (context) => {
      const reason = whyNoAccess(process.pid);
      const needsHost = names.includes('flip-value') || names.includes('empty-replica');
      if (needsHost && reason !== undefined) return context.skip(reason);
      const flags = isStatic === true ? ['--static'] : [];
      const { exitCode, stdout, stderr } = await withMutatedCopy(PARTS, substitutions, (distDir) =>
        finished(
          spawn(
            process.execPath,
            [join(distDir, 'bench/avocado.js'), 'attack', ...names, '--mode', mode, ...flags, '--json'],
            {
              env: { ...process.env, NODE_OPTIONS: '' },
            },
          ),
        ),
      );
      assert.equal(stderr, `error: succeeded: ${names.join(', ')}\n`);
      assert.equal(exitCode, 1);
      const { attacks } = JSON.parse(stdout) as AttackReport;
      assert.deepEqual(
        attacks.map(({ name, verdict }) => [name, verdict]),
        names.map((name) => [name, 'succeeded']),
      );
      for (const { name, reason: got } of attacks) assert.match(got ?? '', harm[name]!);
    });
  }
});
