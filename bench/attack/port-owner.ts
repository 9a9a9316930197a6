import { readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { isLoopback } from '../../src/server/datagram-bytes.ts';
import { socketInodesOf, udpSockets } from '../udp-sockets.ts';

/**
 * The process that listens at an address of this machine: how an attacker on the host finds a replica, whoever started
 * it. Linux shows sockets by their inode; other systems show nothing here.
 */
export function ownerOfUdpPort(host: string, port: number): number | undefined {
  if (process.platform !== 'linux' || !isOwnAddress(host)) return undefined;
  const inodes = inodesOf(host, port);
  if (inodes.length === 0) return undefined;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((processId) => {
      const own = socketInodesOf(processId);
      return inodes.some((inode) => own.has(inode));
    });
}

function isOwnAddress(host: string): boolean {
  if (isLoopback(host)) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host));
}

function inodesOf(host: string, port: number): string[] {
  const portHex = port.toString(16).toUpperCase().padStart(4, '0');
  const wanted = [ANY_IPV4, ANY_IPV6, addressHex(host)].map((address) => `${address}:${portHex}`);
  return udpSockets().flatMap(({ localAddress, inode }) => (wanted.includes(localAddress) ? [inode] : []));
}

const ANY_IPV4 = '0'.repeat(8);
const ANY_IPV6 = '0'.repeat(32);
const LOOPBACK_IPV6 = `${'0'.repeat(24)}01000000`;

/** As Linux on a little-endian machine shows it, word by word. Other IPv6 addresses are found under "any" only. */
function addressHex(host: string): string {
  if (host === '::1') return LOOPBACK_IPV6;
  return Buffer.from(host.split('.').map(Number).toReversed()).toString('hex').toUpperCase();
}
