import type { Admission, Endpoint } from '../../net/endpoint.ts';
import type { Authority, Identity } from '../trust/authority.ts';
import { Permissions } from '../trust/permissions.ts';
import { toHex } from './instance.ts';
import type { Peer } from './peer.ts';

/**
 * What the two handshake messages carry for us. Message 1: writer id (8) and certificate. Message 2: incarnation (16),
 * epoch u32, zero u32; that the responder holds the static key it was asked for is proved by the handshake itself.
 */
const WRITER_BYTES = 8;
const INCARNATION_OFFSET = 0;
const EPOCH_OFFSET = 16;
const RESPONSE_BYTES = 24;
/** The responder shows no certificate. */
const NO_GROUP = 0;

export function requestPayload(writerHigh: number, writerLow: number, certificate: Uint8Array): Uint8Array {
  const payload = Buffer.alloc(WRITER_BYTES + certificate.length);
  payload.writeInt32LE(writerLow, 0);
  payload.writeInt32LE(writerHigh, 4);
  payload.set(certificate, WRITER_BYTES);
  return payload;
}

export function responsePayload(incarnation: string, epoch: number): Uint8Array {
  const payload = Buffer.alloc(RESPONSE_BYTES);
  payload.write(incarnation, INCARNATION_OFFSET, 'hex');
  payload.writeUInt32LE(epoch, EPOCH_OFFSET);
  return payload;
}

/** Message 1: who asks. */
export function admitRequest(
  authority: Authority,
  payload: Uint8Array,
  staticKey: Uint8Array,
  nowSeconds: number,
): Admission<Peer> {
  if (payload.length <= WRITER_BYTES) return { ok: false, reason: 'no certificate' };
  const verdict = authority.verify(payload.subarray(WRITER_BYTES), staticKey, nowSeconds);
  if (!verdict.ok) return verdict;
  const { identity, voucherGroup = NO_GROUP } = verdict;
  const writer = Buffer.from(payload.buffer, payload.byteOffset, WRITER_BYTES);
  const writerLow = writer.readInt32LE(0);
  const writerHigh = writer.readInt32LE(4);
  // A member is one process at a time: the one that comes takes the place of the one before it.
  const keyText = toHex(staticKey);
  const key = identity.role === 'replica' ? keyText : `${keyText} ${writer.toString('hex')}`;
  return {
    ok: true,
    peer: { identity, writerHigh, writerLow, incarnation: undefined, staticKey: keyText, voucherGroup, key },
  };
}

/** Message 2: the member that the link is to, in its present incarnation. */
export function acceptResponse(
  memberIndex: number,
  payload: Uint8Array,
  memberKey: Uint8Array,
  authority?: Pick<Authority, 'isRevoked'>,
): Admission<Peer> {
  const staticKey = toHex(memberKey);
  if (authority?.isRevoked?.(staticKey, NO_GROUP) === true) return { ok: false, reason: 'its key was revoked by CAS' };
  if (payload.length !== RESPONSE_BYTES) return { ok: false, reason: 'its handshake answer has an unknown form' };
  const incarnation = toHex(payload.subarray(INCARNATION_OFFSET, EPOCH_OFFSET));
  const identity: Identity = { role: 'replica', memberIndex, permissions: Permissions.NONE };
  const key = `member ${memberIndex}`;
  return {
    ok: true,
    peer: { identity, writerHigh: 0, writerLow: 0, incarnation, staticKey, voucherGroup: NO_GROUP, key },
  };
}

/** More peers were revoked: their sessions end now, and not with their keys. */
export function endRevokedSessions(
  endpoint: Pick<Endpoint<Peer>, 'endSessions'>,
  authority: Pick<Authority, 'isRevoked'>,
): void {
  endpoint.endSessions(({ staticKey, voucherGroup }) => authority.isRevoked?.(staticKey, voucherGroup) === true);
}
