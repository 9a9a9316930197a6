/** The public API of avocado-kv. */
export { connect } from './client/client.ts';
export type { Client, ConnectOptions, Key, OperationOptions, UpdateOptions } from './client/client.ts';
export type { ConditionalResult, Expected, Value, Versioned } from './client/read-modify-write.ts';
export type { Change } from './client/update.ts';
export type { CountOptions, ScanOptions, ScannedKey, ScannedPair } from './client/scans.ts';
export type { ScanRange } from './client/scan-range.ts';
export type { Route } from './client/route.ts';
export { AvocadoError, ERROR_CODES } from './errors.ts';
export type { ErrorCode } from './errors.ts';
export type { MemberStatus } from './client/operations.ts';
