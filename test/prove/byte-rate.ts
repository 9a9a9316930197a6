import type { CompareReport } from '../../bench/compare-report.ts';
import { alignColumns } from '../../bench/report-text.ts';
import { DATAGRAM_BYTES_ETHERNET, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX } from '../../net/limits.ts';
import { MINUTE_MS, count } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * Bytes of values that gets return, to the bytes that bare node:dgram moves between two processes in the same run, in
 * datagrams of the same size: what the message layer, the store and the client leave of the network.
 *
 * The raw figure: one socket to one socket in two processes, nothing else running, one way, within the window that a session
 * of ours has. Against that stand a client and three replicas on the same cores. The larger the datagrams, the less bare
 * node:dgram does for a byte, and the more what is ours shows: what a datagram costs a replica and the client.
 */
const VALUE_BYTES = 64 * 1024;
/**
 * So that each replica has some five gets to answer while the client opens others, and neither side waits for a round trip.
 * More than what a client may grant of a buffer of 4 MiB is slower (32: 0.9 of the rate).
 */
const OUTSTANDING = 16;
/** Ethernet's jumbo frames of 9,000 bytes, less 28 of headers. */
const DATAGRAM_BYTES_JUMBO = 8_968;
/** What the message layer is to reach. */
const HELD = [
  { datagramBytes: DATAGRAM_BYTES_ETHERNET, ofRawMin: 0.6 },
  { datagramBytes: DATAGRAM_BYTES_LOOPBACK, ofRawMin: 0.6 },
] as const;
/** They stand beside it. */
const OTHER_DATAGRAM_BYTES = [DATAGRAM_BYTES_JUMBO, DATAGRAM_BYTES_MAX] as const;
const ROUNDS = 3;
const DURATION_S = 3;
const QUICK_DURATION_S = 2;

interface Rates {
  readonly datagramBytes: number;
  readonly rawBytesPerSec: number;
  readonly runs: CompareReport['runs'];
  readonly replicas: number;
}

export const byteRate: Proof = {
  name: 'byte-rate',
  subject: 'large values move at the rate of the network',
  timeoutMs: 15 * MINUTE_MS,
  run: proveByteRate,
};

async function proveByteRate(context: ProofContext): Promise<ClaimResult[]> {
  const held: Rates[] = [];
  for (const { datagramBytes } of HELD) held.push(await measure(context, datagramBytes));
  const others: Rates[] = [];
  for (const datagramBytes of OTHER_DATAGRAM_BYTES) others.push(await measure(context, datagramBytes));
  return HELD.map(({ datagramBytes, ofRawMin }, index) => {
    const rates = held[index]!;
    const readBytesPerSec = getsOf(rates);
    const ofRaw = readBytesPerSec / rates.rawBytesPerSec;
    const isLast = index === HELD.length - 1;
    return {
      claim:
        `plaintext gets of ${count(VALUE_BYTES)} bytes in datagrams of ${count(datagramBytes)} move at least ` +
        `${ofRawMin} of the bytes that raw node:dgram moves in the same run`,
      ok: ofRaw >= ofRawMin,
      figures: `${ofRaw.toFixed(2)}: ${megabytes(readBytesPerSec)} of ${megabytes(rates.rawBytesPerSec)} MB/s`,
      ...(isLast && { table: tableOf([...held, ...others]) }),
      data: { min: ofRawMin, rates: isLast ? [rates, ...others] : [rates] },
    };
  });
}

function getsOf({ runs }: Rates): number {
  const gets = runs.find(({ workload, mode }) => workload === 'C' && mode === 'plaintext');
  if (gets === undefined) throw new Error('the bench reported no plaintext gets');
  return gets.bytesPerSec.read;
}

async function measure(context: ProofContext, datagramBytes: number): Promise<Rates> {
  const load = ['--workloads', 'A,C', '--records', '200', '--value-bytes', `${VALUE_BYTES}`];
  const durationS = context.quick ? QUICK_DURATION_S : DURATION_S;
  const times = ['--rounds', String(ROUNDS), '--duration', String(durationS), '--warmup', '1'];
  const outstanding = ['--outstanding', String(OUTSTANDING)];
  const args = ['compare', ...load, ...outstanding, '--datagram-bytes', String(datagramBytes), ...times];
  const what = `values of ${count(VALUE_BYTES)} bytes in datagrams of ${count(datagramBytes)}`;
  const { runs, replicas, calibration } = (await bench(context, what, args)) as CompareReport;
  const raw = calibration.rawRates.find((rate) => rate.datagramBytes === datagramBytes);
  if (raw === undefined) throw new Error(`the bench reported no raw rate in datagrams of ${datagramBytes} bytes`);
  return { datagramBytes, rawBytesPerSec: raw.bytesPerSec, runs, replicas };
}

/** Bytes of values read, and put with their copies; each to those of raw node:dgram. */
function tableOf(rates: readonly Rates[]): string {
  const rows = [['datagrams', 'raw MB/s', 'workload', 'mode', 'gets MB/s', 'of raw', 'puts x copies MB/s', 'of raw']];
  for (const { datagramBytes, rawBytesPerSec, runs, replicas } of rates) {
    for (const { workload, mode, bytesPerSec } of runs) {
      const ofRaw = (bytesPerSec: number): string[] => [
        megabytes(bytesPerSec),
        (bytesPerSec / rawBytesPerSec).toFixed(2),
      ];
      rows.push([
        count(datagramBytes),
        megabytes(rawBytesPerSec),
        workload,
        mode,
        ...ofRaw(bytesPerSec.read),
        ...(bytesPerSec.written === 0 ? ['', ''] : ofRaw(bytesPerSec.written * replicas)),
      ]);
    }
  }
  return alignColumns(rows, 'right');
}

function megabytes(bytesPerSec: number): string {
  return (bytesPerSec / 1e6).toFixed(0);
}
