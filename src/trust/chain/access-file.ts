/** In a cluster's directory: that its members get their keys from CAS, and how they reach it (chain-access.ts). */
export const ACCESS_FILE = 'cas-access.json';
/** In the directory of an embedded cluster: the keys of its one operator (operator-file.ts). */
export const OPERATOR_FILE = 'operator.json';
