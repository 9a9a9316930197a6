import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DropReason } from '../../net/drops.ts';
import type { SecurityMode } from '../../net/mode.ts';
import { resolveHost } from '../../net/udp.ts';
import type { Client } from '../../src/client/client.ts';
import type { MemberStatus } from '../../src/client/operations.ts';
import { CommandFailure, EXIT_FAILED } from '../../src/cli/failure.ts';
import { AvocadoError } from '../../src/errors.ts';
import { quorumOf } from '../../src/protocol/quorum.ts';
import type { Authority } from '../../src/trust/authority.ts';
import { obtainAuthority } from '../../src/trust/obtain-authority.ts';
import type { AttackClient } from './attack-client.ts';
import { openAttackClient } from './attack-client.ts';
import type { Moved } from './attack.ts';
import { ownerOfUdpPort } from './port-owner.ts';

/**
 * The cluster under attack as all attacks see it: an honest client beside the attacker, which asks the replicas for
 * their counters and finds out whether they still answer rightly.
 */
export interface SceneOptions {
  readonly directory: string;
  /** Started for the attacks and nothing else. */
  readonly isOwn: boolean;
  readonly mayRestart: boolean;
  /** Ends all waiting; its reason is the error that the caller gets. */
  readonly signal: AbortSignal;
}

const STATUS_TIMEOUT_MS = 500;
const ASK_INTERVAL_MS = 10;
/** A replica that counts, repairs or starts does so within; a busy machine takes seconds. */
const PATIENCE_MS = 15_000;
/** For the last session with a replica to come about. */
const WHOLE_MS = 2_000;
/** So long must nothing come after all that was sent: what is in the receive buffers of this process is taken. */
const TAKE_MS = 20;

export class Scene {
  readonly directory: string;
  readonly authority: Authority;
  /** IP addresses of the members. */
  readonly hosts: readonly string[];
  readonly isOwn: boolean;
  readonly mayRestart: boolean;
  readonly signal: AbortSignal;
  readonly #honest: AttackClient;
  /** Begins the names of all keys that attacks put, so that they meet nobody else's. */
  readonly #prefix = `avocado attack ${randomBytes(4).toString('hex')} `;
  readonly #keys = new Set<string>();
  readonly #cleanups: (() => Promise<void>)[] = [];

  private constructor(options: SceneOptions, authority: Authority, hosts: readonly string[], honest: AttackClient) {
    this.directory = options.directory;
    this.authority = authority;
    this.hosts = hosts;
    this.isOwn = options.isOwn;
    this.mayRestart = options.mayRestart;
    this.signal = options.signal;
    this.#honest = honest;
  }

  static async open(options: SceneOptions): Promise<Scene> {
    const waiting = { timeoutMs: PATIENCE_MS, signal: options.signal };
    const authority = await obtainAuthority(options.directory, { role: 'client' }, waiting);
    const hosts = await Promise.all(authority.configuration.members.map(({ host }) => resolveHost(host)));
    const scene = new Scene(options, authority, hosts, await openAttackClient(authority));
    try {
      await scene.#checkWhole();
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  /** What a replica that is not there does would be taken for what the attacker has done. */
  async #checkWhole(): Promise<void> {
    const ask = async (): Promise<MemberStatus | undefined> =>
      (await this.#honest.engine.status(STATUS_TIMEOUT_MS)).find(({ state }) => state !== 'active');
    if (await this.until(async () => (await ask()) === undefined, WHOLE_MS)) return;
    const missing = await ask();
    if (missing === undefined) return;
    throw new CommandFailure(
      `error: replica ${missing.index} is ${missing.state}, and attacks are judged on a whole cluster: stop all replicas and start all, or give --mode for a cluster of its own`,
      EXIT_FAILED,
    );
  }

  get mode(): SecurityMode {
    return this.authority.mode;
  }

  get memberCount(): number {
    return this.hosts.length;
  }

  get quorum(): number {
    return quorumOf(this.memberCount);
  }

  /** Of somebody who has no part in the attack. */
  get client(): Client {
    return this.#honest.client;
  }

  /** Bad copies that the honest client has met. */
  get clientTampered(): number {
    return this.#honest.engine.counters.tampered;
  }

  /** A key for an attack to put; deleted at the end. */
  key(name: string): string {
    const key = `${this.#prefix}${name}`;
    this.#keys.add(key);
    return key;
  }

  /** Undefined when the member is on another host, or another user's. */
  processIdOf(member: number): number | undefined {
    return ownerOfUdpPort(this.hosts[member]!, this.authority.configuration.members[member]!.port);
  }

  async statusOf(member: number): Promise<MemberStatus> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      this.signal.throwIfAborted();
      const status = (await this.#honest.engine.status(STATUS_TIMEOUT_MS))[member]!;
      if (status.reachable) return status;
      if (performance.now() >= until) {
        throw new AvocadoError('NO_QUORUM', `replica ${member} no longer tells its status: ${status.reason}`);
      }
    }
  }

  async dropsOf(member: number, reason: DropReason): Promise<number> {
    return (await this.statusOf(member)).drops?.[reason] ?? 0;
  }

  /** Asks until it is so; false when the time is up. */
  async until(isSo: () => boolean | Promise<boolean>, patienceMs = PATIENCE_MS): Promise<boolean> {
    const endMs = performance.now() + patienceMs;
    while (!(await isSo())) {
      this.signal.throwIfAborted();
      if (performance.now() >= endMs) return false;
      await sleep(ASK_INTERVAL_MS);
    }
    return true;
  }

  /**
   * Waits until a replica has handled all that this process has sent to it, and what it answered is here: it answers in
   * the order in which it is asked.
   */
  async settled(member: number): Promise<void> {
    await sleep(TAKE_MS);
    await this.statusOf(member);
    await sleep(TAKE_MS);
  }

  /** Whether a get by the honest client gives the value that was put; if not, what it gives. */
  async wrongValueOf(key: string, value: Uint8Array): Promise<string | undefined> {
    try {
      const got = await this.client.get(key);
      if (got !== undefined && got.equals(value)) return undefined;
      return got === undefined ? 'a get finds no value any more' : 'a get gives a value that was not put last';
    } catch (error) {
      if (!(error instanceof AvocadoError)) throw error;
      return `a get fails: ${error.message}`;
    }
  }

  /** To be undone when the attacks are over, last first. */
  onClose(cleanup: () => Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async close(): Promise<void> {
    try {
      // A cluster that an attack has brought down can't delete: nothing more is to be done for it.
      await this.client.deleteMany(this.#keys, { deadlineMs: 2_000 }).catch(() => {});
    } finally {
      await this.client.close();
      this.authority.close?.();
      for (const cleanup of this.#cleanups.toReversed()) await cleanup();
    }
  }
}

export function dropsMoved(member: number, reason: DropReason, before: number, after: number): Moved {
  return { where: `replica ${member}`, what: `dropped ${reason}`, before, after };
}
