/** On whose word CAS admits: a LAS's, evidence of the process itself, or either. */
export const ADMISSIONS = ['las', 'direct', 'both'] as const;
