import { InvalidArgumentError, Option } from 'commander';
import { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN } from '../../net/limits.ts';
import { SECURITY_MODES } from '../../net/mode.ts';
import { ROUTES } from '../client/route.ts';
import { SEALED_VALUE_BYTES_MAX } from '../../workers/sealing.ts';
import { parseWorkerSetting, WORKERS_MAX } from '../../workers/worker-count.ts';
import { bytesBetween, parseBytes } from './bytes.ts';
import { durationMs } from './duration.ts';

/** Options that several commands share, so that they read and behave alike everywhere. */
export function clusterOption(): Option {
  return new Option('--cluster <dir>', 'cluster directory (default: AVOCADO_CLUSTER, else the running avocado dev)');
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON');
}

export function timeoutOption(): Option {
  return new Option('--timeout <duration>', 'how long to wait for the cluster')
    .argParser(durationMs)
    .default(5_000, '5s');
}

export function modeOption(): Option {
  return new Option('--mode <mode>', 'how values and messages are protected').choices(SECURITY_MODES).default('secure');
}

export function routeOption(): Option {
  return new Option(
    '--route <route>',
    'direct: this process asks a quorum; coordinated: one replica does that for it, and no data key is needed',
  )
    .choices(ROUTES)
    .default('direct');
}

/** As whom a client comes. */
export function asOption(): Option {
  return new Option(
    '--as <name>',
    'profile at CAS, or client of avocado init --client (default: the one without a name)',
  );
}

export function enrolmentKeyOption(): Option {
  return new Option('--enrolment-key <file>', 'where CAS asks for it: made by avocado cas enrolment-key');
}

export function datagramBytesOption(): Option {
  return new Option(
    '--datagram-bytes <bytes>',
    "payload of one datagram (default: from the interface's MTU; loopback 16640)",
  ).argParser((text) => {
    const byteCount = parseBytes(text);
    const fits = byteCount !== undefined && byteCount >= DATAGRAM_BYTES_MIN && byteCount <= DATAGRAM_BYTES_MAX;
    if (fits && byteCount % 8 === 0) return byteCount;
    throw new InvalidArgumentError(`Give a multiple of 8 from ${DATAGRAM_BYTES_MIN} to ${DATAGRAM_BYTES_MAX}.`);
  });
}

/** Holds one datagram of any size; and as much as net.core.rmem_max can be set to grant. */
const RECEIVE_BUFFER_BYTES_MIN = 64 * 1024;
const RECEIVE_BUFFER_BYTES_MAX = 1024 ** 3;

export function receiveBufferOption(): Option {
  return new Option(
    '--receive-buffer <bytes>',
    'asked of the system for each socket; it may grant less (default: 4MiB). 212992 is what an untuned Linux grants',
  ).argParser(bytesBetween(RECEIVE_BUFFER_BYTES_MIN, RECEIVE_BUFFER_BYTES_MAX));
}

export function workersOption(): Option {
  return new Option(
    '--workers <count>',
    'threads that seal and open large values and datagrams: 0, a number, or auto (none with one or two cores)',
  )
    .argParser((text) => {
      const setting = parseWorkerSetting(text);
      if (setting !== undefined) return setting;
      throw new InvalidArgumentError(`Give auto, or a number from 0 to ${WORKERS_MAX}.`);
    })
    .default('auto');
}

export function workersFromOption(): Option {
  return new Option(
    '--workers-from <bytes>',
    'hand what is as long as this to workers, do the rest in the loop (default: measured when they start)',
  ).argParser(bytesBetween(0, SEALED_VALUE_BYTES_MAX));
}

export function scansOption(): Option {
  return new Option(
    '--no-scans',
    'keep no ordered view of the keys: some 13 bytes of trusted memory less a key, and scans end with SCANS_OFF',
  );
}

/** A parser for commander; both bounds are allowed. */
export function wholeNumberBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
  };
}

/** 2f+1: the counts that a cluster can have. */
export function replicaCount(text: string): number {
  if (['1', '3', '5', '7'].includes(text)) return Number(text);
  throw new InvalidArgumentError('Give 1, 3, 5 or 7: 2f+1 replicas survive f crashes.');
}
