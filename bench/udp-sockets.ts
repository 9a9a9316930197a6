import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** What Linux tells of this machine's UDP sockets (proc(5): /proc/net/udp, /proc/<pid>/fd). Other systems tell nothing. */
export interface UdpSocket {
  /** As the system writes it: hex, its words in the machine's own byte order, a colon, the port in hex. */
  readonly localAddress: string;
  readonly inode: string;
  /** Datagrams that did not fit into its receive buffer, since it was opened. */
  readonly overflows: number;
}

/** "sl local_address rem_address st ... inode ... drops": address second, inode tenth, drops thirteenth. */
export function udpSockets(): UdpSocket[] {
  return ['/proc/net/udp', '/proc/net/udp6'].flatMap((path) =>
    linesOf(path).flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [localAddress, inode, overflows] = [fields[1], fields[9], fields[12]];
      if (localAddress === undefined || inode === undefined || overflows === undefined) return [];
      return [{ localAddress, inode, overflows: Number(overflows) }];
    }),
  );
}

/** Inodes of the sockets that a process has open; none for processes of other users, which show nothing. */
export function socketInodesOf(processId: number): Set<string> {
  const directory = `/proc/${processId}/fd`;
  const inodes = new Set<string>();
  try {
    for (const name of readdirSync(directory)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`${directory}/${name}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    }
  } catch {
    // It has ended, or is somebody else's.
  }
  return inodes;
}

/** Datagrams that the UDP sockets of these processes have lost to full receive buffers. Undefined where nothing tells. */
export function overflowsOf(processIds: readonly number[]): number | undefined {
  const sockets = udpSockets();
  const inodes = new Set(processIds.flatMap((processId) => [...socketInodesOf(processId)]));
  const own = sockets.filter(({ inode }) => inodes.has(inode));
  return own.length === 0 ? undefined : own.reduce((sum, { overflows }) => sum + overflows, 0);
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n').slice(1);
  } catch {
    return [];
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
