import {
  DATAGRAM_BYTES_ETHERNET,
  DATAGRAM_BYTES_LOOPBACK,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
} from '../../net/limits.ts';
import { AvocadoError } from '../errors.ts';

/** Loopback takes large datagrams; any other interface is taken for Ethernet until told otherwise. */
export function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}

/** Payload of a datagram among these addresses. */
export function datagramBytesFor(hosts: readonly string[], wanted: number | undefined): number {
  if (wanted === undefined) return hosts.every(isLoopback) ? DATAGRAM_BYTES_LOOPBACK : DATAGRAM_BYTES_ETHERNET;
  if (!Number.isInteger(wanted) || wanted < DATAGRAM_BYTES_MIN || wanted > DATAGRAM_BYTES_MAX) {
    throw new AvocadoError(
      'INVALID_ARGUMENT',
      `datagrams of ${wanted} bytes: give ${DATAGRAM_BYTES_MIN} to ${DATAGRAM_BYTES_MAX} (UDP payload)`,
    );
  }
  return wanted & ~7;
}
