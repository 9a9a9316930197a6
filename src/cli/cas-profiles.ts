import { askProfiles } from '../trust/chain/operator.ts';
import { readOperatorFile } from '../trust/chain/operator-file.ts';
import type { ProfileList } from '../trust/chain/messages.ts';
import type { CasCallOptions } from './cas.ts';
import { connect } from './cas-operate.ts';
import { formatTable } from './table.ts';

export async function listProfiles(options: CasCallOptions): Promise<void> {
  const { signing } = readOperatorFile(options.operatorKey);
  const cas = await connect(options);
  try {
    const list = await askProfiles(cas, signing);
    process.stdout.write(options.json === true ? `${JSON.stringify(list)}\n` : describe(list));
  } finally {
    cas.close();
  }
}

function describe({ profiles, clients, clientCount, isWhole }: ProfileList): string {
  const countOf = (name: string): string => String(clients.filter(({ profile }) => profile === name).length);
  const names = new Set(profiles.map(({ name }) => name));
  const gone = new Set(clients.map(({ profile }) => profile).filter((name) => !names.has(name)));
  const rows = [
    ['profile', 'grants', 'builds', 'enrolment key', 'clients'],
    ...profiles.map(({ name, grants, measurements, enrolmentKey }) => [
      name,
      grants,
      measurements === null ? 'any' : measurements.join(', '),
      enrolmentKey ?? 'none',
      countOf(name),
    ]),
    ...[...gone].map((name) => [name, 'removed', '', '', countOf(name)]),
  ];
  if (clients.length === 0) return `${formatTable(rows)}\nno client has a certificate\n`;
  const ofClients = [
    ['client', 'profile', 'since', 'until', 'by', ''],
    ...clients.map(({ staticKey, profile, sinceMs, expirySeconds, lasId, hasGrantsOfNow }) => [
      staticKey,
      profile,
      timeOf(sinceMs),
      timeOf(expirySeconds * 1000),
      lasId === null ? 'evidence' : `LAS ${lasId}`,
      hasGrantsOfNow ? '' : 'with grants that the profile had before',
    ]),
  ];
  const more = clientCount > clients.length ? `the latest ${clients.length} of ${clientCount} clients\n` : '';
  const lost = isWhole ? '' : 'there were more than CAS keeps in memory: the audit log has all\n';
  return `${formatTable(rows)}\n${formatTable(ofClients)}${more}${lost}`;
}

function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
