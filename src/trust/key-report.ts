/** What a member tells CAS of data keys, ids in ascending order. */
export interface KeyReport {
  /** Those that it has. */
  readonly held: readonly number[];
  /** Those that are retiring, and that it found no value under when it last went through its store. */
  readonly unused: readonly number[];
  /** The same of those that it took no new value under any more when it began. */
  readonly closed: readonly number[];
}

/** As reports of the platform bind it. */
export function keyReportText({ held, unused, closed }: KeyReport): string {
  return [held, unused, closed].map((ids) => ids.join(',')).join(';');
}
