import { z } from 'zod';
import { sign, verify } from '../../../workers/signing.ts';
import { hexOfBytes } from '../evidence/strict-json.ts';
import { grantsText, parseGrants } from '../grant-text.ts';
import { bytesOfHex } from '../hex.ts';
import { PROFILE_NAME_PATTERN } from '../profile-name.ts';

/**
 * What clients may do, and which of them: a profile has grants, and conditions beside those of the policy. A client names its
 * profile when it joins; CAS puts the grants into its certificate.
 */
export const PROFILE_NAME = z.string().regex(PROFILE_NAME_PATTERN, 'must be 1 to 32 of a-z, 0-9 and -');
export const PROFILES_MAX = 64;
export const DEFAULT_GRANTS = 'rwa:';

export const PROFILE = z.strictObject({
  name: PROFILE_NAME,
  /** As at the command line (grant-text.ts), in its one spelling: it is printed, and compared as text. */
  grants: z.string().max(2_048).refine(isGrantsText, 'must be grants, spelled as avocado spells them'),
  /** Builds that may have it, hex; null: all that the policy accepts as clients. */
  measurements: z.array(z.string().max(128)).min(1).max(64).nullable(),
  /** Whoever has it must sign for the join with the secret half; null: nobody must. */
  enrolmentKey: hexOfBytes(32).nullable(),
});
export type Profile = z.output<typeof PROFILE>;

function isGrantsText(text: string): boolean {
  try {
    return grantsText(parseGrants(text)) === text;
  } catch {
    return false;
  }
}

/** @throws AvocadoError INVALID_ARGUMENT. */
export function newProfile(
  name: string,
  grants: string,
  conditions: Partial<Pick<Profile, 'measurements' | 'enrolmentKey'>> = {},
): Profile {
  const { measurements = null, enrolmentKey = null } = conditions;
  return { name, grants: grantsText(parseGrants(grants)), measurements, enrolmentKey };
}

const SIGNATURE_PREFIX = new TextEncoder().encode('avocado enrolment 1\0');

/** For one join: its report data binds nonce, keys and profile. */
export function signEnrolment(reportData: Uint8Array, secretKey: Uint8Array): Uint8Array {
  return sign(Buffer.concat([SIGNATURE_PREFIX, reportData]), secretKey);
}

/** @param enrolment signEnrolment(); null when the client has no enrolment key. */
export function isEnrolled(enrolmentKey: string, reportData: Uint8Array, enrolment: Uint8Array | null): boolean {
  return (
    enrolment !== null && verify(enrolment, Buffer.concat([SIGNATURE_PREFIX, reportData]), bytesOfHex(enrolmentKey))
  );
}
