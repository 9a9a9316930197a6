import type { AuditEntry } from './audit-log.ts';
import { CLIENTS_LISTED_MAX } from './messages.ts';
import type { ProfileList } from './messages.ts';
import type { CasState } from './cas-state.ts';

/**
 * Clients whose certificates are good, by what the audit log says: it is read anew at each start of CAS, and what is written to it
 * later comes here as well. So nothing is kept twice, and no admission is listed that the log does not have.
 */
export interface AdmittedClient {
  readonly profile: string;
  readonly grants: string;
  readonly lasId: string | null;
  readonly sinceMs: number;
  readonly expirySeconds: number;
}

/** Each run of the command line is one: an hour of four a second. What is more is forgotten, the oldest first, and counted. */
const CLIENTS_MAX = 16_384;

export class AdmittedClients {
  /** By static key, hex; in the order of their certificates. */
  readonly #clients = new Map<string, AdmittedClient>();
  #lastForgottenExpirySeconds = 0;

  note({ event, detail, timeMs }: Pick<AuditEntry, 'event' | 'detail' | 'timeMs'>): void {
    const { role, staticKey, profile, grants, lasId, expirySeconds } = detail;
    if (event !== 'admitted' || role !== 'client') return;
    // Entries of an earlier version say less.
    if (typeof staticKey !== 'string' || typeof profile !== 'string') return;
    if (typeof grants !== 'string' || typeof expirySeconds !== 'number') return;
    const before = this.#clients.get(staticKey);
    this.#clients.delete(staticKey);
    this.#clients.set(staticKey, {
      profile,
      grants,
      lasId: typeof lasId === 'string' ? lasId : null,
      sinceMs: before?.sinceMs ?? timeMs,
      expirySeconds,
    });
    if (this.#clients.size <= CLIENTS_MAX) return;
    const [oldest, client] = this.#clients.entries().next().value!;
    this.#clients.delete(oldest);
    this.#lastForgottenExpirySeconds = Math.max(this.#lastForgottenExpirySeconds, client.expirySeconds);
  }

  /** Public all of it: grants, builds and keys, of which CAS has the public halves. */
  list(state: Pick<CasState, 'profiles' | 'revoked' | 'lases'>, nowMs: number): ProfileList {
    const revokedKeys = new Set(state.revoked.map(({ staticKey }) => staticKey));
    const revokedLases = new Set(state.lases.flatMap(({ revoked, lasId }) => (revoked ? [lasId] : [])));
    const grantsNow = new Map(state.profiles.map(({ name, grants }) => [name, grants]));
    const clients = [...this.#clients]
      .filter(([staticKey, { lasId, expirySeconds }]) => {
        return expirySeconds * 1000 > nowMs && !revokedKeys.has(staticKey) && !revokedLases.has(lasId ?? '');
      })
      .map(([staticKey, { profile, grants, lasId, sinceMs, expirySeconds }]) => {
        return { staticKey, profile, lasId, sinceMs, expirySeconds, hasGrantsOfNow: grantsNow.get(profile) === grants };
      });
    return {
      profiles: [...state.profiles],
      clients: clients.slice(-CLIENTS_LISTED_MAX).toReversed(),
      clientCount: clients.length,
      isWhole: this.#lastForgottenExpirySeconds * 1000 <= nowMs,
    };
  }
}
