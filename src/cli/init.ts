import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { SecurityMode } from '../../net/mode.ts';
import { CERTIFICATE_DAYS_DEFAULT, initClusterDirectory } from '../trust/cluster-directory.ts';
import type { ClusterSummary, NamedClient } from '../trust/cluster-directory.ts';
import { ownCommandLine } from './own-command-line.ts';
import { grantsOf } from './grants-option.ts';
import { jsonOption, modeOption, replicaCount, wholeNumberBetween } from './shared-options.ts';

/** First of a row of ports; unassigned by IANA for UDP as far as 7409. */
export const BASE_PORT_DEFAULT = 7400;
const REPLICAS_DEFAULT = 3;
/** Ten years: longer ones are most likely a mistake. */
const CERTIFICATE_DAYS_MAX = 3_650;

interface InitOptions {
  readonly members?: { host: string; port: number }[];
  readonly replicas: number;
  readonly basePort: number;
  readonly mode: SecurityMode;
  readonly certificateDays: number;
  readonly client?: NamedClient[];
  readonly force?: boolean;
  readonly json?: boolean;
}

export function initCommand(): Command {
  return new Command('init')
    .description('Write the files of a new cluster: members, keys, certificates.')
    .argument('<dir>', 'directory to write to; made if missing')
    .option('--members <host:port,...>', 'addresses of the replicas, an odd number of them', parseMembers)
    .addOption(
      new Option('--replicas <count>', 'replicas on 127.0.0.1, in place of --members')
        .argParser(replicaCount)
        .default(REPLICAS_DEFAULT)
        .conflicts('members'),
    )
    .addOption(
      new Option('--base-port <port>', 'port of replica 0; the others follow')
        .argParser(wholeNumberBetween(1, 65_535 - 6))
        .default(BASE_PORT_DEFAULT)
        .conflicts('members'),
    )
    .addOption(modeOption())
    .option(
      '--certificate-days <days>',
      'how long the certificates are good for',
      wholeNumberBetween(1, CERTIFICATE_DAYS_MAX),
      CERTIFICATE_DAYS_DEFAULT,
    )
    .option(
      '--client <name=grants>',
      'a client with a name and fewer rights, for --as; grants are RIGHTS:PREFIX,... with rights r, w, a; may be given several times',
      namedClient,
    )
    .option('--force', 'replace the cluster that the directory holds; its keys are lost')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  avocado init ./cluster
  avocado init ./cluster --members 10.0.0.1:7400,10.0.0.2:7400,10.0.0.3:7400
  avocado init ./cluster --replicas 5 --base-port 9000 --force
  avocado init ./cluster --client billing=rw:billing/ --client auditor=r:,a:`,
    )
    .action(init);
}

function init(directory: string, options: InitOptions): void {
  const members =
    options.members ??
    Array.from({ length: options.replicas }, (_, i) => ({ host: '127.0.0.1', port: options.basePort + i }));
  const summary = initClusterDirectory({
    directory,
    members,
    mode: options.mode,
    certificateDays: options.certificateDays,
    force: options.force ?? false,
    clients: options.client ?? [],
  });
  const expires = new Date(summary.certificateExpirySeconds * 1000).toISOString();
  if (options.json === true) {
    const report = {
      directory: summary.directory,
      clusterId: summary.clusterIdHex,
      mode: options.mode,
      members: members.map((member, index) => ({ index, ...member })),
      certificatesExpire: expires,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  process.stdout.write(describe(summary, options.mode, expires));
}

function describe(summary: ClusterSummary, mode: SecurityMode, expires: string): string {
  const avocado = ownCommandLine();
  const { directory } = summary;
  const plaintext = mode === 'plaintext' ? ' --allow-plaintext' : '';
  const starts = Array.from(
    { length: summary.memberCount },
    (_, i) => `  ${avocado} replica --cluster ${directory} --index ${i}${plaintext}\n`,
  ).join('');
  return `Cluster ${summary.clusterIdHex.slice(0, 8)}, mode ${mode}, written to ${directory}; certificates expire ${expires.slice(0, 10)}.

The host of replica i needs cluster.json, data-key.json and replica-<i>.json; a client's cluster.json, data-key.json
and client.json; one with a name cluster.json and client-<name>.json. Nothing that runs needs ${join(directory, 'cluster-key.json')}: keep it elsewhere.

Start each replica:
${starts}
Then:
  ${avocado} status --cluster ${directory}
`;
}

/** Their names' rules are the directory's. */
function namedClient(text: string, before: NamedClient[] = []): NamedClient[] {
  const separator = text.indexOf('=');
  if (separator === -1) throw new InvalidArgumentError('Give a name and its grants, e.g. billing=rw:billing/.');
  return [...before, { name: text.slice(0, separator), grants: grantsOf(text.slice(separator + 1)) }];
}

/** host:port or [IPv6]:port; what else is wrong with them the cluster directory says. */
export function parseMembers(text: string): { host: string; port: number }[] {
  return text.split(',').map((member) => {
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(member.trim());
    if (match === null)
      throw new InvalidArgumentError('Give addresses like 10.0.0.1:7400,10.0.0.2:7400,10.0.0.3:7400.');
    return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
  });
}
