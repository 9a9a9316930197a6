/** Data keys that are rotated: which step waits for whom, and what everybody has of it. Replicas are their authorities only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openCasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import type { CasAuthority } from '../../../src/trust/chain/cas-authority.ts';
import { parseCasReference } from '../../../src/trust/chain/cas-connection.ts';
import { verifyAuditLog } from '../../../src/trust/chain/audit-log.ts';
import { AUDIT_FILE } from '../../../src/trust/chain/cas-state.ts';
import { sendCommand } from '../../../src/trust/chain/operator.ts';
import { createSimulatedMachine } from '../../../src/trust/chain/simulated-machine.ts';
import { bytesOfHex } from '../../../src/trust/hex.ts';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Chain } from './chain-fixture.ts';
import { joinWithForgedReport } from './forged-report.ts';

const machine = createSimulatedMachine();
const REFRESH_SECONDS = 10;
const anyKey = new Int32Array(2);

class World {
  readonly chain: Chain;
  readonly replicas: readonly CasAuthority[];
  readonly client: CasAuthority;

  private constructor(chain: Chain, all: readonly CasAuthority[]) {
    this.chain = chain;
    this.replicas = all.slice(0, 3);
    this.client = all[3]!;
  }

  static async open(spaces: { name: string; prefix: Uint8Array }[] = []): Promise<World> {
    const chain = await Chain.start({ refreshSeconds: REFRESH_SECONDS, spaces });
    const all = await Promise.all(
      [0, 1, 2, null].map((memberIndex) =>
        openCasAuthority({
          role: memberIndex === null ? 'client' : 'replica',
          memberIndex,
          wantsDataKeys: true,
          platform: chain.platform(machine),
          lasUrl: undefined,
          cas: parseCasReference(chain.cas.reference),
          judgement: chain.judgement(),
          timeoutMs: 20_000,
          // Tests say when.
          refreshMs: 3_600_000,
        }),
      ),
    );
    for (const each of all) chain.onClose(async () => each.close());
    return new World(chain, all);
  }

  async rotate(space = 'default'): Promise<string> {
    return sendCommand(await this.chain.connect(), this.chain.operator, { type: 'rotate-key', space });
  }

  /** Time passes, and CAS takes the steps that are due. */
  async tick(seconds: number): Promise<void> {
    this.chain.aheadMs += seconds * 1_000;
    await this.chain.cas.cas.tick();
  }

  async refresh(authorities: readonly CasAuthority[] = [...this.replicas, this.client]): Promise<void> {
    for (const each of authorities) await each.refresh();
  }

  phases(): string[] {
    return this.chain.cas.cas.document.dataKeys.map(({ id, phase }) => `${id} ${phase}`);
  }

  waitsFor(id: number): number[] | undefined {
    return this.chain.cas.cas.document.dataKeys.find((key) => key.id === id)?.waitsFor;
  }

  currentIds(): number[] {
    return [...this.replicas, this.client].map(({ dataKeys }) => dataKeys.currentId(anyKey, 0, 8));
  }

  /** As a replica does that has gone through its whole store. */
  look(replicas: readonly CasAuthority[], valueCount: number): void {
    for (const { dataKeys } of replicas) {
      for (const id of dataKeys.retiringIds) dataKeys.noteUse(id, valueCount, dataKeys.isClosing(id));
    }
  }

  /** Until the next key is current, and everybody knows. */
  async bringIn(): Promise<void> {
    await this.rotate();
    await this.refresh();
    await this.tick(2 * REFRESH_SECONDS);
    await this.refresh();
  }
}

async function withWorld(t: { after(close: () => Promise<void>): void }): Promise<World> {
  const world = await World.open();
  t.after(() => world.chain.close());
  return world;
}

test('a new key is used when all members hold it and clients had time to fetch it, not before', async (t) => {
  const world = await withWorld(t);
  assert.match(await world.rotate(), /announced data key 2 of key space default/);
  assert.deepEqual(world.phases(), ['1 current', '2 announced']);
  await world.refresh(world.replicas.slice(0, 2));
  assert.deepEqual(world.waitsFor(2), [2]);
  await world.tick(10 * REFRESH_SECONDS);
  assert.deepEqual(world.phases(), ['1 current', '2 announced'], 'a member lacks it');
  await world.refresh(world.replicas.slice(0, 2));
  assert.deepEqual(world.currentIds(), [1, 1, 1, 1]);
  await world.refresh();
  await world.tick(0);
  assert.deepEqual(world.phases(), ['1 retiring', '2 current']);
  await world.refresh();
  assert.deepEqual(world.currentIds(), [2, 2, 2, 2]);
  for (const { dataKeys } of [...world.replicas, world.client]) {
    assert.deepEqual(dataKeys.key(2), world.client.dataKeys.key(2));
    assert.equal(dataKeys.key(1)?.length, 32, 'values still lie under the old one');
  }
});

test('clients have their time even when all members are quick', async (t) => {
  const world = await withWorld(t);
  await world.rotate();
  await world.refresh();
  await world.tick(REFRESH_SECONDS);
  assert.deepEqual(world.phases(), ['1 current', '2 announced']);
  await world.tick(REFRESH_SECONDS);
  assert.deepEqual(world.phases(), ['1 retiring', '2 current']);
});

test('an old key is destroyed everywhere when no member has a value under it, and takes none any more', async (t) => {
  const world = await withWorld(t);
  await world.bringIn();
  const olds = [...world.replicas, world.client].map(({ dataKeys }) => dataKeys.key(1)!);
  world.look(world.replicas.slice(0, 2), 0);
  world.look(world.replicas.slice(2), 1);
  await world.refresh();
  await world.tick(10 * REFRESH_SECONDS);
  assert.deepEqual(world.waitsFor(1), [2]);
  assert.deepEqual(world.phases(), ['1 retiring', '2 current'], 'one value is enough');

  world.look(world.replicas, 0);
  await world.refresh();
  await world.tick(0);
  assert.deepEqual(world.phases(), ['1 closing', '2 current']);
  // What was found before the key was closed counts for nothing.
  await world.refresh();
  await world.tick(10 * REFRESH_SECONDS);
  assert.deepEqual(world.waitsFor(1), [0, 1, 2]);
  assert.ok(world.replicas.every(({ dataKeys }) => !dataKeys.takesNewValues(1) && dataKeys.takesNewValues(2)));

  world.look(world.replicas.slice(0, 2), 0);
  await world.refresh();
  await world.tick(10 * REFRESH_SECONDS);
  assert.deepEqual(world.phases(), ['1 closing', '2 current']);
  world.look(world.replicas, 0);
  await world.refresh();
  await world.tick(0);
  assert.deepEqual(world.phases(), ['2 current']);
  await world.refresh();
  for (const key of olds) assert.deepEqual(key, new Uint8Array(32));
  for (const { dataKeys } of [...world.replicas, world.client]) assert.equal(dataKeys.key(1), undefined);

  const { document } = world.chain.cas.cas;
  assert.deepEqual(document.destroyedKeys, [1]);
  const path = join(world.chain.directory, 'cas', AUDIT_FILE);
  assert.ok(verifyAuditLog(path, bytesOfHex(document.clusterPublicKey)).ok);
  const steps = readFileSync(path, 'utf8').match(/"phase\\?":\\?"([a-z]+)/g)!;
  assert.equal(steps.length, 4, steps.join(' '));
  assert.match(steps.at(-1)!, /destroyed/);
});

test('only one key of a space is announced at a time; spaces are rotated on their own', async (t) => {
  const world = await World.open([{ name: 'users', prefix: Buffer.from('user/') }]);
  t.after(() => world.chain.close());
  await world.rotate('users');
  await assert.rejects(world.rotate('users'), /data key 3 of users is announced already, and waits for 3 members/);
  await assert.rejects(world.rotate('nobody'), /there is no key space nobody; there are default, users/);
  await world.refresh();
  await world.tick(2 * REFRESH_SECONDS);
  assert.deepEqual(world.phases(), ['1 current', '2 retiring', '3 current']);
});

test('a client that was away fetches the key as soon as it meets a value under it, and is not driven to ask all the time', async (t) => {
  const world = await withWorld(t);
  await world.rotate();
  await world.refresh(world.replicas);
  await world.tick(2 * REFRESH_SECONDS);
  const { dataKeys } = world.client;
  const refresh = world.client.refresh.bind(world.client);
  let refreshCount = 0;
  world.client.refresh = () => {
    refreshCount++;
    return refresh();
  };
  for (let i = 0; i < 100; i++) assert.equal(dataKeys.key(2), undefined);
  assert.equal(refreshCount, 1);
  await refresh();
  assert.equal(dataKeys.key(2)?.length, 32);
  assert.equal(dataKeys.currentId(anyKey, 0, 8), 2);
});

test('rotation goes on where it was when CAS is started again', async (t) => {
  const world = await withWorld(t);
  await world.bringIn();
  const { directory } = world.chain;
  await world.chain.cas.close();
  const again = await world.chain.startCas(undefined, join(directory, 'cas'));
  assert.deepEqual(
    again.cas.document.dataKeys.map(({ id, phase, waitsFor }) => [id, phase, waitsFor]),
    [
      [1, 'retiring', [0, 1, 2]],
      [2, 'current', []],
    ],
  );
});

test('nobody reports for a member: a report is bound to its enclave’s word', async (t) => {
  const world = await withWorld(t);
  await world.bringIn();
  await assert.rejects(joinWithForgedReport(world.chain, machine, world.replicas[0]!), /refused by rule report-data/);
});
