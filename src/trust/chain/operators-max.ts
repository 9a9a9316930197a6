/** Each has a share of the recovery key, and a place in what CAS says of itself. */
export const OPERATORS_MAX = 16;
