/** Keys that hostile clients write: nobody answers for what they hold. */
export const HOSTILE_KEYS = ['hostile-conflict', 'hostile-greatest', 'hostile-garbage'] as const;

export function isHostileKey(key: string): boolean {
  return key.startsWith('hostile-');
}
