/** In what part somebody wants to join; a policy has entries for each. */
export const ROLES = ['replica', 'client', 'cas', 'las'] as const;

export type Role = (typeof ROLES)[number];
