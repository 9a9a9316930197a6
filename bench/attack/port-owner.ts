import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { isLoopback } from '../../src/server/datagram-bytes.ts';

/**
 * The process that listens at an address of this machine: how an attacker on the host finds a replica, whoever started
 * it. Linux shows sockets by their inode (proc(5): /proc/net/udp, /proc/<pid>/fd); other systems show nothing here.
 */
export function ownerOfUdpPort(host: string, port: number): number | undefined {
  if (process.platform !== 'linux' || !isOwnAddress(host)) return undefined;
  const links = new Set(inodesOf(host, port).map((inode) => `socket:[${inode}]`));
  if (links.size === 0) return undefined;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((processId) => holdsOneOf(processId, links));
}

function isOwnAddress(host: string): boolean {
  if (isLoopback(host)) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host));
}

/** "sl local_address rem_address st ... inode": the address as hex:port, the inode tenth. */
function inodesOf(host: string, port: number): string[] {
  const portHex = port.toString(16).toUpperCase().padStart(4, '0');
  const wanted = [ANY_IPV4, ANY_IPV6, addressHex(host)].map((address) => `${address}:${portHex}`);
  return ['/proc/net/udp', '/proc/net/udp6'].flatMap((path) =>
    linesOf(path).flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const inode = fields[9];
      return inode !== undefined && wanted.includes(fields[1] ?? '') ? [inode] : [];
    }),
  );
}

const ANY_IPV4 = '0'.repeat(8);
const ANY_IPV6 = '0'.repeat(32);
const LOOPBACK_IPV6 = `${'0'.repeat(24)}01000000`;

/** As Linux on a little-endian machine shows it, word by word. Other IPv6 addresses are found under "any" only. */
function addressHex(host: string): string {
  if (host === '::1') return LOOPBACK_IPV6;
  return Buffer.from(host.split('.').map(Number).toReversed()).toString('hex').toUpperCase();
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n').slice(1);
  } catch {
    return [];
  }
}

/** False for processes of other users, too, which show nothing. */
function holdsOneOf(processId: number, links: ReadonlySet<string>): boolean {
  const directory = `/proc/${processId}/fd`;
  try {
    return readdirSync(directory).some((name) => links.has(linkOf(`${directory}/${name}`)));
  } catch {
    return false;
  }
}

/** A descriptor may be closed by the time it is looked at. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
