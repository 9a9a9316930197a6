/** A CAS whose machine is lost comes back when enough operators want it, and not before. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { generateStaticKeyPair, randomBytes } from '../../../workers/signing.ts';
import { sealTo } from '../../../workers/secret-box.ts';
import { CasConnection } from '../../../src/trust/chain/cas-connection.ts';
import type { CasState } from '../../../src/trust/chain/cas-state.ts';
import { newOperatorKeys } from '../../../src/trust/chain/operator-file.ts';
import type { OperatorKeys } from '../../../src/trust/chain/operator-file.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { giveShare, readRecoveryShares, recoverState, SHARES_FILE } from '../../../src/trust/chain/recovery.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { hexOf } from '../../../src/trust/hex.ts';
import { Chain } from './chain-fixture.ts';

const operators = Array.from({ length: 3 }, newOperatorKeys);
const FILES = ['cas-backup.sealed', 'audit.log', SHARES_FILE];

interface Lost {
  readonly chain: Chain;
  /** What somebody has copied in time. */
  readonly copy: string;
  readonly clusterPublicKey: string;
}

/** A CAS that has ended, on a machine that nobody has any more. */
async function lose(t: TestContext, threshold: number): Promise<Lost> {
  const chain = new Chain();
  t.after(() => chain.close());
  const signers = operators.map(({ signing }) => hexOf(signing.publicKey));
  const settings = chain.settings({ operators: signers });
  const recoveryKeys = operators.map(({ recovery }) => hexOf(recovery.publicKey));
  const running = await chain.startCas(settings, undefined, { recovery: { recoveryKeys, threshold } });
  const { clusterPublicKey } = running.cas.document;
  await running.close();
  const copy = join(chain.directory, 'copy');
  mkdirSync(copy);
  for (const name of FILES) copyFileSync(join(chain.directory, 'cas', name), join(copy, name));
  Object.assign(chain, { casMachine: createSimulatedMachine() });
  return { chain, copy, clusterPublicKey };
}

interface Recovering {
  readonly state: Promise<CasState>;
  readonly give: (operator: OperatorKeys['recovery']) => Promise<string>;
}

async function recovering({ chain, copy, clusterPublicKey }: Lost): Promise<Recovering> {
  const ending = new AbortController();
  chain.onClose(async () => ending.abort(new Error('the test is over')));
  let state: Promise<CasState> | undefined;
  const url = await new Promise<string>((resolve) => {
    state = recoverState({
      directory: copy,
      host: '127.0.0.1',
      port: 0,
      platform: chain.platform(chain.casMachine),
      signal: ending.signal,
      nowMs: () => chain.nowMs(),
      onWaiting: resolve,
      onError: (error) => chain.errors.push(error),
    });
    state.catch(() => {});
  });
  const give = async (keys: OperatorKeys['recovery']): Promise<string> => {
    const cas = await CasConnection.open({ url, clusterPublicKey }, chain.judgement());
    assert.equal(cas.document.state, 'recovering');
    try {
      return await giveShare(cas, keys, readRecoveryShares(join(copy, SHARES_FILE)));
    } finally {
      cas.close();
    }
  };
  return { state: state!, give };
}

test('two of three operators bring it back on another machine, with the same keys; one of them confirms the state', async (t) => {
  const lost = await lose(t, 2);
  const { chain, copy, clusterPublicKey } = lost;
  const { state, give } = await recovering(lost);
  assert.match(await give(operators[2]!.recovery), /1 of 2 shares/);
  assert.match(await give(operators[2]!.recovery), /1 of 2 shares/, 'the same one counts once');
  assert.match(await give(operators[0]!.recovery), /has recovered/);
  const recovered = await state;
  assert.equal(recovered.clusterPublicKey, clusterPublicKey);

  const again = await chain.startCas(undefined, copy, { recovered });
  assert.equal(again.cas.isServing, false, 'nobody knows whether there was a later state');
  const stateCounter = again.cas.document.stateCounter;
  await sendCommand(await chain.connect(), operators[1]!.signing, { type: 'confirm-state', stateCounter });
  assert.equal(again.cas.isServing, true);
  await again.close();
  const third = await chain.startCas(undefined, copy);
  assert.equal(third.cas.document.clusterPublicKey, clusterPublicKey, 'sealed on the new machine');
});

test('a share that is none of the cluster’s is refused, and spoils nothing', async (t) => {
  const lost = await lose(t, 2);
  const { give, state } = await recovering(lost);
  const path = join(lost.copy, SHARES_FILE);
  const stranger = generateStaticKeyPair();
  await assert.rejects(give(stranger), { code: 'INVALID_ARGUMENT', message: /none of the shares/ });

  const { shares, ...file } = JSON.parse(readFileSync(path, 'utf8')) as { shares: object[] };
  const sealed = Buffer.from(sealTo(randomBytes(33), stranger.publicKey)).toString('base64');
  const forged = { recoveryKey: hexOf(stranger.publicKey), sealed, shareHash: '00'.repeat(32) };
  writeFileSync(path, JSON.stringify({ ...file, shares: [...shares, forged] }), { mode: 0o600 });
  assert.match(await give(operators[0]!.recovery), /1 of 2 shares/);
  await assert.rejects(give(stranger), { code: 'ADMISSION_REFUSED', message: /none of the shares of recovery-shares/ });
  assert.match(await give(operators[1]!.recovery), /has recovered/);
  await state;
});

test('shares of another cluster do not open the backup', async (t) => {
  const lost = await lose(t, 1);
  const other = await lose(t, 1);
  copyFileSync(join(other.copy, SHARES_FILE), join(lost.copy, SHARES_FILE));
  const { give } = await recovering({ ...lost, clusterPublicKey: other.clusterPublicKey });
  await assert.rejects(give(operators[0]!.recovery), { code: 'ADMISSION_REFUSED', message: /do not open the backup/ });
});

test('with a threshold of one each operator can do it alone; one above their count is refused', async (t) => {
  const lost = await lose(t, 1);
  const { give, state } = await recovering(lost);
  await give(operators[1]!.recovery);
  await state;
  await assert.rejects(lose(t, 4), { code: 'INVALID_ARGUMENT', message: /from 1 to the operators' count, 3/ });
});
