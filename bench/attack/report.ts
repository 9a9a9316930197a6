import type { SecurityMode } from '../../net/mode.ts';
import { alignColumns, seconds } from '../report-text.ts';
import type { Attack } from './attack.ts';
import { POWERS } from './attack.ts';
import type { AttackResult, Verdict } from './run.ts';

/** What `avocado attack` prints, for people and for machines. */
export interface AttackReport {
  readonly directory: string;
  /** Started for the attacks. */
  readonly own: boolean;
  readonly mode: SecurityMode;
  readonly replicas: number;
  readonly attacks: readonly AttackResult[];
  readonly caught: number;
  readonly succeeded: number;
  readonly notTried: number;
}

type Head = Pick<AttackReport, 'directory' | 'own' | 'mode' | 'replicas'>;

export function reportOf(head: Head, attacks: readonly AttackResult[]): AttackReport {
  const countOf = (verdict: Verdict): number => attacks.filter((attack) => attack.verdict === verdict).length;
  return {
    ...head,
    attacks,
    caught: countOf('caught'),
    succeeded: countOf('succeeded'),
    notTried: countOf('not tried'),
  };
}

export function describeHead({ directory, own, mode, replicas }: Head): string {
  const whose = own ? 'a cluster of its own' : `the cluster ${directory}`;
  const warning = mode === 'plaintext' ? 'Mode plaintext protects nothing: most of them succeed.\n' : '';
  return `Attacks on ${whose}: ${replicas} replicas, mode ${mode}.\n${warning}`;
}

export function describeBefore({ name, deed, power }: Attack): string {
  return `\n${name}  ${deed}\n  power      ${power}: ${POWERS[power]}\n`;
}

const FIGURES_INDENT = '             ';

export function describeAfter({ verdict, reason, moved, canaries, tookMs }: AttackResult): string {
  if (verdict === 'not tried') return `  not tried  ${reason}\n`;
  const head =
    verdict === 'caught'
      ? `  caught     in ${seconds(tookMs)}; ${canaries.right} of ${canaries.read} other keys are read rightly\n`
      : `  SUCCEEDED  ${reason}; ${canaries.right} of ${canaries.read} other keys are read rightly\n`;
  const rows = moved.map(({ where, what, before, after }) => [where, what, `${before} -> ${after}`]);
  if (rows.length === 0) return head;
  const figures = alignColumns(rows, 'left').split('\n');
  return `${head}${figures.map((line) => `${FIGURES_INDENT}${line}\n`).join('')}`;
}

export function describeEnd({ attacks, caught, succeeded, notTried }: AttackReport): string {
  const counts = `${caught} caught, ${succeeded} succeeded, ${notTried} not tried`;
  return `\n${attacks.length} ${attacks.length === 1 ? 'attack' : 'attacks'}: ${counts}\n`;
}

export function describeList(attacks: readonly Attack[]): string {
  return `${alignColumns(
    attacks.map(({ name, power, deed }) => [name, power, deed]),
    'left',
  )}\n`;
}
