import type { CompareReport } from '../../bench/compare-report.ts';
import { MINUTE_MS } from './proof.ts';
import type { ClaimResult, Proof, ProofContext } from './proof.ts';
import { bench } from './run-bench.ts';

/**
 * Bytes of values that gets return, to the bytes that bare node:dgram moves between two processes in the same run, in
 * datagrams of the same size: what the message layer, the store and the client leave of the network.
 */
const VALUE_BYTES = 64 * 1024;
/** The largest: a value and its envelope take two. */
const DATAGRAM_BYTES = 65_504;
const OF_RAW_MIN = 0.6;
const ROUNDS = 3;
const DURATION_S = 3;
const QUICK_DURATION_S = 2;

export const byteRate: Proof = {
  name: 'byte-rate',
  subject: 'large values move at the rate of the network',
  timeoutMs: 10 * MINUTE_MS,
  run: proveByteRate,
};

async function proveByteRate(context: ProofContext): Promise<ClaimResult[]> {
  const load = ['--workloads', 'A,C', '--records', '200', '--outstanding', '16', '--value-bytes', String(VALUE_BYTES)];
  const network = ['--datagram-bytes', String(DATAGRAM_BYTES)];
  const durationS = context.quick ? QUICK_DURATION_S : DURATION_S;
  const times = ['--rounds', String(ROUNDS), '--duration', String(durationS), '--warmup', '1'];
  const args = ['compare', ...load, ...network, ...times];
  const report = (await bench(context, 'gets and puts of large values', args)) as CompareReport;
  const { runs, replicas, calibration } = report;
  const raw = calibration.rawRates.find(({ datagramBytes }) => datagramBytes === DATAGRAM_BYTES);
  const gets = runs.find(({ workload, mode }) => workload === 'C' && mode === 'plaintext');
  if (raw === undefined || gets === undefined) throw new Error('the bench reported no plaintext gets or no raw rate');
  const ofRaw = (bytesPerSec: number): string => (bytesPerSec / raw.bytesPerSec).toFixed(2);
  const mb = (bytesPerSec: number): string => `${(bytesPerSec / 1e6).toFixed(0)} MB/s`;
  const others = runs.map(({ workload, mode, bytesPerSec: { read, written } }) => {
    const puts =
      written === 0 ? '' : ` and puts ${mb(written)}, ${ofRaw(written * replicas)} with ${replicas} copies each`;
    return `${workload} ${mode} gets ${mb(read)}, ${ofRaw(read)}${puts}`;
  });
  return [
    {
      claim: `plaintext gets of ${VALUE_BYTES} bytes move at least ${OF_RAW_MIN} of the bytes that raw node:dgram moves in the same run`,
      ok: gets.bytesPerSec.read >= OF_RAW_MIN * raw.bytesPerSec,
      figures: `${ofRaw(gets.bytesPerSec.read)}: ${mb(gets.bytesPerSec.read)} of ${mb(raw.bytesPerSec)}; to raw: ${others.join('; ')}`,
      data: { min: OF_RAW_MIN, runs, calibration },
    },
  ];
}
