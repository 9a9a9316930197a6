import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MIN } from '../../net/limits.ts';
import { UdpTransport } from '../../net/udp.ts';
import { measureWorkerThreshold } from '../../workers/process-sealing.ts';
import { workerCountOf } from '../../workers/worker-count.ts';
import { formatBytes } from './bytes.ts';
import { BASE_PORT_DEFAULT } from './init.ts';

/** What `avocado doctor` looks at. Each check says what it saw and, unless that is fine, what to change. */
export interface CheckResult {
  readonly name: string;
  /** 'fail': avocado can't run; 'warn': it runs, slower or less safely than it could. */
  readonly level: 'ok' | 'warn' | 'fail';
  readonly seen: string;
  readonly advice?: string;
}

export async function checkMachine(): Promise<CheckResult[]> {
  return [
    checkNodeVersion(process.versions.node),
    checkCores(availableParallelism()),
    checkMemory(availableBytes()),
    await checkWorkers(workerCountOf('auto')),
    ...(await checkReceiveBuffer(readNumber('/proc/sys/net/core/rmem_max'))),
    ...interfaceMtus().map(({ name, mtuBytes }) => checkMtu(name, mtuBytes)),
    await checkPorts(),
  ];
}

const NODE_MAJOR_MIN = 20;

export function checkNodeVersion(version: string): CheckResult {
  const name = 'node version';
  if (Number(version.split('.')[0]) >= NODE_MAJOR_MIN) return { name, level: 'ok', seen: version };
  return { name, level: 'fail', seen: version, advice: `install Node ${NODE_MAJOR_MIN} or later` };
}

export function checkCores(coreCount: number): CheckResult {
  const result = { name: 'cores', seen: String(coreCount) } as const;
  if (coreCount >= 2) return { ...result, level: 'ok' };
  return { ...result, level: 'warn', advice: 'replicas and clients take turns on one core; give it two or more' };
}

/** How many workers a replica or client has by itself, and what they are good for here. */
export async function checkWorkers(autoCount: number): Promise<CheckResult> {
  const name = 'workers';
  try {
    const fromBytes = await measureWorkerThreshold();
    const seen = `auto: ${autoCount}; a worker is worth its while from ${fromBytes.toLocaleString('en')} bytes on`;
    return { name, level: 'ok', seen };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { name, level: 'warn', seen: reason, advice: 'give replicas and clients --workers 0' };
  }
}

/** Three replicas at the default of 128 MiB trusted memory, Node itself, and as much again for values. */
const MEMORY_BYTES_WANTED = 3 * (2 * 128 + 64) * 2 ** 20;

export function checkMemory(byteCount: number): CheckResult {
  const result = { name: 'memory', seen: `${formatBytes(byteCount)} available` } as const;
  if (byteCount >= MEMORY_BYTES_WANTED) return { ...result, level: 'ok' };
  const wanted = formatBytes(MEMORY_BYTES_WANTED);
  return {
    ...result,
    level: 'warn',
    advice: `three full replicas want ${wanted}; lower --trusted-memory and --host-memory`,
  };
}

/** Linux counts memory that it can take back from its caches. */
function availableBytes(): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readText('/proc/meminfo') ?? '');
  return match === null ? freemem() : Number(match[1]) * 1024;
}

/** What the transport asks for; with less, bursts from many clients overflow it and have to be sent again. */
const RECEIVE_BUFFER_BYTES_WANTED = 4 * 2 ** 20;

async function checkReceiveBuffer(limitBytes: number | undefined): Promise<CheckResult[]> {
  let grantedBytes: number;
  try {
    const transport = await UdpTransport.open({ host: '127.0.0.1', port: 0 });
    grantedBytes = transport.receiveBufferBytes;
    await transport.close();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return [
      { name: 'udp', level: 'fail', seen: `no UDP socket on 127.0.0.1 (${code})`, advice: 'allow UDP on loopback' },
    ];
  }
  return [checkGranted(grantedBytes, limitBytes)];
}

export function checkGranted(grantedBytes: number, limitBytes: number | undefined): CheckResult {
  const limit = limitBytes === undefined ? '' : ` (net.core.rmem_max ${formatBytes(limitBytes)})`;
  const result = { name: 'receive buffer', seen: `${formatBytes(grantedBytes)} a socket${limit}` } as const;
  if (grantedBytes >= RECEIVE_BUFFER_BYTES_WANTED) return { ...result, level: 'ok' };
  const advice = `sudo sysctl -w net.core.rmem_max=${RECEIVE_BUFFER_BYTES_WANTED}`;
  return {
    ...result,
    level: 'warn',
    advice: process.platform === 'linux' ? advice : "raise the system's UDP receive buffer",
  };
}

/** IPv4 and UDP headers. */
const HEADER_BYTES = 28;
const ETHERNET_MTU_BYTES = 1_500;

export function checkMtu(interfaceName: string, mtuBytes: number): CheckResult {
  const result = { name: `mtu of ${interfaceName}`, seen: `${mtuBytes} bytes` } as const;
  if (interfaceName === 'lo') {
    if (mtuBytes >= DATAGRAM_BYTES_LOOPBACK + HEADER_BYTES) return { ...result, level: 'ok' };
    return { ...result, level: 'warn', advice: 'larger datagrams are faster: sudo ip link set lo mtu 65536' };
  }
  if (mtuBytes >= ETHERNET_MTU_BYTES) return { ...result, level: 'ok' };
  const fittingBytes = Math.floor((mtuBytes - HEADER_BYTES) / 8) * 8;
  const advice =
    fittingBytes >= DATAGRAM_BYTES_MIN
      ? `if replicas are reached over it, give all of them --datagram-bytes ${fittingBytes}`
      : `too small to reach replicas over it: sudo ip link set ${interfaceName} mtu ${ETHERNET_MTU_BYTES}`;
  return { ...result, level: 'warn', advice };
}

const INTERFACES_DIRECTORY = '/sys/class/net';

/** Linux only; elsewhere nothing is said about MTUs. */
function interfaceMtus(): { name: string; mtuBytes: number }[] {
  if (!existsSync(INTERFACES_DIRECTORY)) return [];
  return readdirSync(INTERFACES_DIRECTORY).flatMap((name) => {
    const isUp = readText(`${INTERFACES_DIRECTORY}/${name}/operstate`)?.trim() !== 'down';
    const mtuBytes = readNumber(`${INTERFACES_DIRECTORY}/${name}/mtu`);
    return isUp && mtuBytes !== undefined ? [{ name, mtuBytes }] : [];
  });
}

const PORT_COUNT = 3;

/** `avocado dev` takes any free ports; these are the ones that `avocado init` gives out by default. */
async function checkPorts(): Promise<CheckResult> {
  const taken: number[] = [];
  for (let port = BASE_PORT_DEFAULT; port < BASE_PORT_DEFAULT + PORT_COUNT; port++) {
    try {
      await (await UdpTransport.open({ host: '127.0.0.1', port })).close();
    } catch {
      taken.push(port);
    }
  }
  const name = 'ports of init';
  const range = `${BASE_PORT_DEFAULT} to ${BASE_PORT_DEFAULT + PORT_COUNT - 1}`;
  if (taken.length === 0) return { name, level: 'ok', seen: `${range} are free` };
  return {
    name,
    level: 'warn',
    seen: `${taken.join(', ')} taken`,
    advice: 'fine if replicas run; else avocado init --base-port',
  };
}

function readNumber(path: string): number | undefined {
  const text = readText(path);
  return text === undefined || !/^\d+\s*$/.test(text) ? undefined : Number(text);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
