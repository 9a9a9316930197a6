import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { CommandFailure, EXIT_FAILED } from './failure.ts';
import type { AuditEntry } from '../trust/chain/audit-log.ts';
import { jsonOption } from './shared-options.ts';

interface AuditOptions {
  readonly key: string;
  readonly head?: string;
  readonly list?: boolean;
  readonly json?: boolean;
}

export function auditCommand(): Command {
  return new Command('audit')
    .description("Check the log of CAS's decisions.")
    .addCommand(verifyCommand())
    .addHelpText(
      'after',
      `
Examples:
  avocado audit verify audit.log --key <key>`,
    );
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('Verify that no entry was changed, left out or put in. Exit code 1 when one was.')
    .argument('<file>', "audit.log of CAS's directory")
    .requiredOption('--key <cluster key>', 'the part behind # of the CAS reference, or the whole reference')
    .option('--head <count:hash>', 'what avocado cas show tells: also finds entries that were cut from the end')
    .option('--list', 'print the entries as well, as far as they are right')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  avocado audit verify /var/lib/avocado/audit.log --key https://10.0.0.1:7480#<key>
  avocado audit verify audit.log --key <key> --head 17:<hash> --list`,
    )
    .action(verify);
}

async function verify(path: string, options: AuditOptions): Promise<void> {
  const { AUDIT_START, verifyAuditLog } = await import('../trust/chain/audit-log.ts');
  const { bytesOfHex } = await import('../trust/hex.ts');
  const key = /^(?:https:.*#)?([0-9a-f]{64})$/.exec(options.key)?.[1];
  if (key === undefined) throw wrongOption('--key', 'is 64 hexadecimal digits, or a CAS reference');
  const head = options.head === undefined ? undefined : /^(\d{1,15}):([0-9a-f]{64})$/.exec(options.head);
  if (head === null) throw wrongOption('--head', 'is count:hash, as avocado cas show prints it');
  const expected = head === undefined ? AUDIT_START : { count: Number(head[1]), hash: head[2]! };
  // For a CAS that has written nothing yet a missing log is whole; for whoever asks it is a wrong path.
  if (!existsSync(path)) throw new CommandFailure(`error: ${path} is missing: give audit.log of CAS's directory`, 2);
  const isJson = options.json === true;
  const verdict = verifyAuditLog(path, bytesOfHex(key), expected, (entry) => {
    if (options.list === true) process.stdout.write(isJson ? `${JSON.stringify(entry)}\n` : lineOf(entry));
  });
  if (isJson) process.stdout.write(`${JSON.stringify(verdict)}\n`);
  if (!verdict.ok) {
    const text = `${path} is not whole, line ${verdict.line}: ${verdict.reason}`;
    throw new CommandFailure(isJson ? '' : text, EXIT_FAILED);
  }
  if (isJson) return;
  const { head: last, tornBytes } = verdict;
  const torn =
    tornBytes === 0 ? '' : `; behind them ${tornBytes} bytes of one that was not finished, which CAS cuts off`;
  process.stdout.write(`whole: ${last.count} entries, head ${last.count}:${last.hash}${torn}\n`);
}

function lineOf({ index, timeMs, event, detail }: AuditEntry): string {
  const facts = Object.entries(detail).map(([name, value]) => `${name}=${String(value)}`);
  return `${index}  ${new Date(timeMs).toISOString()}  ${event}  ${facts.join(' ')}\n`;
}

function wrongOption(name: string, rule: string): CommandFailure {
  return new CommandFailure(`error: ${name} ${rule}`, 2);
}
