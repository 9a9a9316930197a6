import type { Incoming } from '../../net/inbox.ts';
import type { Link } from '../../net/link.ts';
import { AvocadoError } from '../errors.ts';
import { FLAG_NOT_PERMITTED, flagsOf, slotOf } from '../protocol/messages.ts';
import type { Messenger } from '../protocol/messenger.ts';
import type { Peer } from '../protocol/peer.ts';
import { readStatus, sendStatusRequest } from '../protocol/status-message.ts';
import type { Member } from '../trust/authority.ts';
import type { ClusterView } from './cluster-view.ts';
import type { MemberStatus } from './operations.ts';

/** Asks every member for its figures, again and again until each has answered or the time is up. */
const ASK_AGAIN_MS = 200;

interface Query {
  readonly number: number;
  readonly answers: (MemberStatus | undefined)[];
  readonly timer: NodeJS.Timeout;
  readonly resolve: (answers: MemberStatus[]) => void;
  readonly reject: (error: AvocadoError) => void;
  askedMs: number;
}

export class StatusQueries {
  readonly #members: readonly Member[];
  readonly #links: readonly Link<Peer>[];
  readonly #messenger: Messenger;
  readonly #view: ClusterView;
  readonly #queries = new Map<number, Query>();
  #nextNumber = 0;

  constructor(members: readonly Member[], links: readonly Link<Peer>[], messenger: Messenger, view: ClusterView) {
    this.#members = members;
    this.#links = links;
    this.#messenger = messenger;
    this.#view = view;
  }

  ask(timeoutMs: number): Promise<MemberStatus[]> {
    const number = this.#nextNumber;
    this.#nextNumber = (number + 1) & 0xffff;
    return new Promise((resolve, reject) => {
      const query: Query = {
        number,
        answers: this.#members.map(() => undefined),
        timer: setTimeout(() => this.#finish(query), timeoutMs),
        resolve,
        reject,
        askedMs: -Infinity,
      };
      this.#queries.set(number, query);
    });
  }

  tick(nowMs: number): void {
    for (const query of this.#queries.values()) {
      if (nowMs - query.askedMs < ASK_AGAIN_MS) continue;
      this.#links.forEach((link, member) => {
        if (link.session === undefined || query.answers[member] !== undefined) return;
        // Links come up one by one: those that are not there yet must not delay the next try.
        if (sendStatusRequest(this.#messenger, link.session, query.number)) query.askedMs = nowMs;
      });
    }
  }

  onStatus(incoming: Incoming<Peer>, word: number): void {
    const query = this.#queries.get(slotOf(incoming.region.words, word));
    if (query !== undefined && (flagsOf(incoming.region.words, word) & FLAG_NOT_PERMITTED) !== 0) {
      return this.#refuse(query);
    }
    const status = readStatus(incoming.region, word);
    if (query === undefined || status === undefined) return;
    const member = incoming.session.peer.identity.memberIndex;
    query.answers[member] = this.#describe(member, status);
    if (query.answers.every((answer) => answer !== undefined)) this.#finish(query);
  }

  close(): void {
    for (const query of this.#queries.values()) this.#finish(query);
  }

  #refuse(query: Query): void {
    this.#end(query);
    query.reject(
      new AvocadoError('NOT_PERMITTED', 'status: the certificate gives no right to it: it needs admin (a:)'),
    );
  }

  #end(query: Query): void {
    clearTimeout(query.timer);
    this.#queries.delete(query.number);
  }

  #finish(query: Query): void {
    this.#end(query);
    query.resolve(query.answers.map((answer, member) => answer ?? this.#unreachable(member)));
  }

  #describe(member: number, status: object): MemberStatus {
    // Written by an authenticated replica of this release (replica-server.ts).
    const { missing, ...figures } = status as Omit<MemberStatus, 'index' | 'address' | 'reachable'> & {
      missing?: number[];
    };
    const reason = this.#reason(figures.state, figures.instance, missing ?? []);
    return {
      ...figures,
      index: member,
      address: this.#address(member),
      reachable: true,
      ...(reason !== undefined && { reason }),
    };
  }

  #reason(state: MemberStatus['state'], instance: string | undefined, missing: number[]): string | undefined {
    if (state === 'forming') return `waits for ${missing.map((index) => `replica ${index}`).join(', ') || 'votes'}`;
    if (state === 'outside') {
      return 'its incarnation is not in the active cluster instance: it restarted empty and may not vote';
    }
    const pinned = this.#view.instance;
    return pinned !== undefined && instance !== pinned ? 'it is active in another cluster instance' : undefined;
  }

  #unreachable(member: number): MemberStatus {
    const link = this.#links[member]!;
    const reason = link.refusal ?? (link.session === undefined ? 'no answer to the handshake' : 'no answer');
    return { index: member, address: this.#address(member), reachable: false, state: 'unreachable', reason };
  }

  #address(member: number): string {
    const { host, port } = this.#members[member]!;
    return `${host}:${port}`;
  }
}
