/** Names of profiles: what a client may do, by CAS (chain/profiles.ts) or by a file of a cluster directory. */
export const PROFILE_NAME_PATTERN = /^[a-z0-9-]{1,32}$/;
/** Of clients that name none. */
export const DEFAULT_PROFILE = 'default';
