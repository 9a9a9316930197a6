/**
 * Whom a limit by address is for. An IPv4 address is one host; of IPv6 a single host commonly has a whole /64, and with it
 * more addresses than there are places in any table, each of them provable (RFC 6177, RFC 4291 2.5.4).
 *
 * @param host As sockets give it: IPv6 in the short form of RFC 5952, with or without a zone.
 */
export function addressBlock(host: string): string {
  if (!host.includes(':')) return host;
  // An IPv4 address within IPv6 is one host, too.
  if (host.includes('.')) return host.slice(host.lastIndexOf(':') + 1);
  const [head, tail] = host.split('%', 1)[0]!.split('::') as [string, string?];
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':');
    while (groups.length + behind.length < IPV6_GROUPS) groups.push('0');
    groups.push(...behind);
  }
  return groups.slice(0, BLOCK_GROUPS).join(':');
}

const IPV6_GROUPS = 8;
const BLOCK_GROUPS = 4;
