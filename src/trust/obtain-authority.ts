import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority } from './authority.ts';
import { openAuthority } from './open-authority.ts';
import type { AuthorityRole } from './open-authority.ts';
import { ACCESS_FILE } from './chain/access-file.ts';
import type { ChainAccess } from './chain/chain-access.ts';

/** How long to wait for CAS, LAS and other members, and whom to tell. */
export interface Waiting {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly onWaiting?: (reason: string) => void;
}

/**
 * The place of a process in a cluster: from CAS, or from the files of avocado init.
 *
 * @param cluster A directory, a CAS (https://host:port#key), or how to reach one.
 * @throws AvocadoError CLUSTER_FILES, ADMISSION_REFUSED, TRUST_UNAVAILABLE, EVIDENCE_UNAVAILABLE, EVIDENCE_FILES.
 */
export async function obtainAuthority(
  cluster: string | ChainAccess,
  role: AuthorityRole,
  waiting: Waiting,
): Promise<Authority> {
  if (typeof cluster === 'string' && !isCasReference(cluster) && !existsSync(join(cluster, ACCESS_FILE))) {
    return openAuthority(cluster, role);
  }
  // Loaded where there is a CAS only: it brings HTTPS and verifiers of evidence.
  const { accessOf, openChainAuthority } = await import('./chain/chain-access.ts');
  return openChainAuthority(typeof cluster === 'string' ? accessOf(cluster) : cluster, {
    role: role.role,
    memberIndex: role.role === 'replica' ? role.index : null,
    wantsDataKeys: role.role === 'replica' || role.needsDataKeys !== false,
    ...(role.role === 'client' && { profile: role.profile, enrolmentKeyFile: role.enrolmentKeyFile }),
    ...waiting,
  });
}

function isCasReference(cluster: string): boolean {
  return cluster.startsWith('https://');
}
