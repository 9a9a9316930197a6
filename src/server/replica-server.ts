import { DropCounters } from '../../net/drops.ts';
import { Endpoint } from '../../net/endpoint.ts';
import type { Admission, EndpointApplication, Incoming } from '../../net/endpoint.ts';
import type { Link } from '../../net/handshakes.ts';
import type { Session } from '../../net/session.ts';
import { UdpTransport, resolveHost } from '../../net/udp.ts';
import { createInlineSealing } from '../../workers/inline-sealing.ts';
import { createHandshakeCrypto } from '../../workers/noise.ts';
import type { Sealing } from '../../workers/sealing.ts';
import { hash, randomBytes } from '../../workers/signing.ts';
import { AvocadoError } from '../errors.ts';
import { Formation } from '../protocol/formation.ts';
import { acceptResponse, admitRequest, requestPayload, responsePayload } from '../protocol/handshake-payload.ts';
import { toHex } from '../protocol/instance.ts';
import { INCARNATION_BYTES } from '../protocol/messages.ts';
import type { Peer } from '../protocol/peer.ts';
import { Repairs } from '../protocol/repairs.ts';
import { Replica, TRUSTED_MARGIN_BYTES } from '../protocol/replica.ts';
import type { MemberState } from '../protocol/state-message.ts';
import { sendStatus } from '../protocol/status-message.ts';
import { HostMemory } from '../store/host-memory.ts';
import { Store } from '../store/store.ts';
import { TRUSTED_BYTES_DEFAULT, TrustedBudget } from '../store/trusted-budget.ts';
import type { Authority, Member } from '../trust/authority.ts';
import { openAuthority } from '../trust/open-authority.ts';
import { datagramBytesFor, isLoopback } from './datagram-bytes.ts';
import { TurnLoop } from './turn-loop.ts';

/**
 * One replica process: the pure cores put together with a socket, a clock and randomness, and run in turns.
 *
 *     datagram -> Endpoint (net/) opens it -> Replica reads and writes the Store -> answers -> Endpoint seals and sends
 */
export interface ReplicaServerOptions {
  readonly clusterDirectory: string;
  readonly index: number;
  /** Limit of trusted memory, bytes; default 128 MiB. */
  readonly trustedBytesMax?: number;
  /** Limit of sealed values in host memory, bytes; default 4 GiB. */
  readonly hostBytesMax?: number;
  readonly datagramBytes?: number;
  /** Serve a cluster of mode plaintext; on loopback only, unless bindHost says otherwise. */
  readonly allowPlaintext?: boolean;
  /** Address to bind in place of the one in the configuration. */
  readonly bindHost?: string;
  onStateChange(state: MemberState, reason: string): void;
}

export interface RunningReplica {
  close(): Promise<void>;
}

const HOST_BYTES_DEFAULT = 4 * 1024 ** 3;
/** What is left of a small budget, e.g. in tests, must not be all margin. */
const MARGIN_SHARE = 8;

/** Rejects with AvocadoError CLUSTER_FILES, PORT_IN_USE or INVALID_ARGUMENT. */
export async function runReplica(options: ReplicaServerOptions): Promise<RunningReplica> {
  const authority = openAuthority(options.clusterDirectory, { role: 'replica', index: options.index });
  const own = authority.configuration.members[options.index]!;
  const hosts = await Promise.all(authority.configuration.members.map((member) => resolveHost(member.host)));
  const bindHost = options.bindHost ?? hosts[options.index]!;
  if (authority.mode === 'plaintext') warnOfPlaintext(options, bindHost);
  const datagramBytes = datagramBytesFor(hosts, options.datagramBytes);
  const transport = await openTransport(bindHost, own);
  return new ReplicaServer(options, authority, hosts, transport, datagramBytes);
}

function warnOfPlaintext(options: ReplicaServerOptions, bindHost: string): void {
  if (options.allowPlaintext !== true) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      'this cluster is of mode plaintext, which protects nothing: start it with --allow-plaintext, or make a secure one with avocado init',
    );
  }
  if (!isLoopback(bindHost) && options.bindHost === undefined) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `mode plaintext serves loopback only; to serve ${bindHost} unprotected, say so with --bind ${bindHost}`,
    );
  }
  process.stderr.write('warning: mode plaintext: keys and values are neither encrypted nor authenticated\n');
}

async function openTransport(host: string, member: Member): Promise<UdpTransport> {
  try {
    return await UdpTransport.open({ host, port: member.port });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EADDRINUSE') {
      throw new AvocadoError(
        'PORT_IN_USE',
        `UDP port ${member.port} of ${host} is in use: is replica ${member.index} running already? Stop it, or init with other ports`,
        { cause: error },
      );
    }
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `cannot bind UDP ${host}:${member.port} (${code}): give an address of this machine with --bind`,
      { cause: error },
    );
  }
}

class ReplicaServer implements RunningReplica, EndpointApplication<Peer> {
  readonly #authority: Authority;
  readonly #startedMs = performance.now();
  readonly #drops = new DropCounters();
  readonly #budget: TrustedBudget;
  readonly #sealing: Sealing;
  readonly #transport: UdpTransport;
  readonly #endpoint: Endpoint<Peer>;
  readonly #links: Link<Peer>[] = [];
  readonly #formation: Formation;
  readonly #store: Store;
  readonly #repairs: Repairs;
  readonly #replica: Replica;
  readonly #loop: TurnLoop;
  readonly #index: number;

  constructor(
    options: ReplicaServerOptions,
    authority: Authority,
    hosts: readonly string[],
    transport: UdpTransport,
    datagramBytes: number,
  ) {
    const { mode, clusterId, staticKeyPair, dataKeys, configuration } = authority;
    this.#authority = authority;
    this.#transport = transport;
    this.#index = options.index;
    this.#budget = new TrustedBudget(options.trustedBytesMax ?? TRUSTED_BYTES_DEFAULT);
    const sealing = createInlineSealing({ mode, dataKeys });
    this.#sealing = sealing;
    this.#endpoint = new Endpoint<Peer>({
      mode,
      clusterId,
      transport,
      sealing,
      crypto: createHandshakeCrypto({ mode, staticKeyPair, sealing }),
      application: this,
      datagramBytes,
      drops: this.#drops,
    });
    const hostMemory = new HostMemory({
      budget: this.#budget,
      hostBytesMax: options.hostBytesMax ?? HOST_BYTES_DEFAULT,
    });
    this.#store = new Store({ budget: this.#budget, hostMemory, seed: randomBytes(8) });
    this.#repairs = new Repairs(this.#store, sealing, this.#drops);
    this.#formation = new Formation({
      clusterId,
      epoch: configuration.epoch,
      memberIndex: options.index,
      memberCount: configuration.members.length,
      incarnation: toHex(randomBytes(INCARNATION_BYTES)),
      messenger: this.#endpoint,
      hash,
      peerSessions: () => this.#peerSessions(),
      onStateChange: (state, reason) => options.onStateChange(state, reason),
    });
    this.#replica = new Replica({
      store: this.#store,
      formation: this.#formation,
      messenger: this.#endpoint,
      drops: this.#drops,
      repairs: this.#repairs,
      trustedMarginBytes: Math.min(TRUSTED_MARGIN_BYTES, Math.floor(this.#budget.available / MARGIN_SHARE)),
      onStatusRequest: (session, slot, generation) =>
        sendStatus(this.#endpoint, session, slot, generation, this.#status()),
    });
    this.#endpoint.epoch = configuration.epoch;
    for (const member of configuration.members) {
      if (member.index === options.index) continue;
      this.#links.push(this.#endpoint.openLink(hosts[member.index]!, member.port, member.staticKey));
    }
    this.#loop = new TurnLoop({ turn: (nowMs) => this.#turn(nowMs), isBusy: () => false });
    transport.start({
      onDatagram: (datagram, host, port) => {
        this.#endpoint.onDatagram(datagram, host, port);
        this.#loop.schedule();
      },
      onSent: (token, failed) => this.#endpoint.onSent(token, failed),
    });
    if (!this.#formation.isActive) {
      options.onStateChange('forming', `waits for all ${configuration.members.length} members`);
    }
  }

  async close(): Promise<void> {
    this.#loop.close();
    this.#endpoint.close();
    await this.#transport.close();
    this.#sealing.close();
  }

  #turn(nowMs: number): void {
    this.#endpoint.turn(nowMs);
    this.#sealing.drainValues(this.#valueSink);
    this.#endpoint.tick(nowMs);
    this.#formation.tick(nowMs);
    this.#endpoint.flush(nowMs);
  }

  readonly #valueSink = {
    onValueSealed: (): void => {},
    onValueOpened: (token: number, opened: boolean): void => this.#repairs.onValueOpened(token, opened),
  };

  *#peerSessions(): IterableIterator<Session<Peer>> {
    for (const link of this.#links) if (link.session !== undefined) yield link.session;
  }

  // -- EndpointApplication ----------------------------------------------------------------------------------------

  requestPayload(): Uint8Array {
    // A replica writes nothing of its own: no writer id.
    return requestPayload(0, 0, this.#authority.certificate);
  }

  responsePayload(): Uint8Array {
    return responsePayload(this.#formation.incarnation, this.#formation.epoch);
  }

  admit(payload: Uint8Array, staticKey: Uint8Array): Admission<Peer> {
    return admitRequest(this.#authority, payload, staticKey, Date.now() / 1000);
  }

  accept(link: Link<Peer>, payload: Uint8Array): Admission<Peer> {
    const linkIndex = this.#links.indexOf(link);
    return acceptResponse(linkIndex < this.#index ? linkIndex : linkIndex + 1, payload);
  }

  peerKey(peer: Peer): string {
    return peer.key;
  }

  onSessionLive(session: Session<Peer>): void {
    // A replica that has just come wants to know; so does a client, who asks by itself.
    if (session.peer.identity.role === 'replica' && session.initiator) this.#formation.onStateRequest(session);
  }

  onMessages(incoming: Incoming<Peer>): void {
    this.#replica.onMessages(incoming);
  }

  /** For `avocado status`; short enough for the smallest datagram. */
  #status(): Record<string, unknown> {
    const stats = this.#store.stats();
    const cpu = process.cpuUsage();
    return {
      state: this.#formation.state,
      incarnation: this.#formation.incarnation,
      instance: this.#formation.instance?.id,
      epoch: this.#formation.epoch,
      missing: this.#formation.state === 'forming' ? this.#formation.missingMembers() : undefined,
      keys: stats.keys,
      trustedBytes: stats.trustedBytes,
      trustedBytesMax: stats.trustedBytesMax,
      hostBytes: stats.hostBytes,
      tampered: this.#repairs.tamperedCount,
      repaired: this.#repairs.repairedCount,
      drops: this.#drops.nonZero(),
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      cpuUs: cpu.user + cpu.system,
      rssBytes: process.memoryUsage.rss(),
      operations: this.#replica.operationCount,
    };
  }
}
