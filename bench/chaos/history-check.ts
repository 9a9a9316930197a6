import { checkHistory } from '../checker/check.ts';
import { readHistory } from '../history-reader.ts';
import { count } from '../report-text.ts';
import type { HistoryVerdict } from './verdict.ts';

/** The checker's word on the history of a run, in one line. `avocado check-history` says more. */
export async function checkHistoryFile(path: string): Promise<HistoryVerdict> {
  const { operations, failedPuts, counts } = await readHistory([path], () => {});
  const { verdict, violation, undecidedKeys, keyCount } = checkHistory(operations, { failedPuts });
  if (violation !== undefined) return { verdict, detail: `key ${violation.key}: ${violation.explanation}` };
  if (verdict === 'undecided') return { verdict, detail: `key ${undecidedKeys.join(', ')}` };
  return { verdict, detail: `${count(counts.operations)} operations on ${count(keyCount)} keys` };
}
