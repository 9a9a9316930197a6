import { DataKeyRing } from '../src/trust/data-key-ring.ts';
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { allocateRegion } from '../net/bytes.ts';
import { DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX } from '../net/limits.ts';
import type { TransportHandler } from '../net/transport.ts';
import { UdpTransport } from '../net/udp.ts';
import { CommandFailure, EXIT_FAILED } from '../src/cli/failure.ts';
import { createInlineSealing } from '../workers/inline-sealing.ts';
import { ENVELOPE_HEADER_BYTES, SEALED_VALUE_BYTES_MAX, VALUE_TAG_BYTES } from '../workers/sealing.ts';
import { medianOf } from './compare-ratio.ts';
import type { PeerAnswer, PeerQuestion } from './calibration-peer.ts';
import { childPath } from './child-path.ts';
import { LatencyHistogram } from './histogram.ts';
import { measureRawRate } from './raw-rate.ts';
import type { RawRate } from './raw-rate.ts';

/**
 * What this machine gives to anything built on node:dgram and sodium-native: the scale on which the bench's figures are
 * to be read. Network figures are taken between two processes over loopback.
 */
export interface CalibrationResult {
  /** Of datagrams and values measured with: the bench's value size. */
  readonly datagramBytes: number;
  /** Round trip of one datagram at a time; medians over the rounds. */
  readonly echoUs: { readonly p50: number; readonly p99: number };
  /** One way, as fast as they go. */
  readonly datagramsPerSec: { readonly sent: number; readonly received: number };
  /** One way, paced so that nothing is lost: with datagrams of the size in force, and of the largest. */
  readonly rawRates: readonly RawRate[];
  /** A seal and an open are a call each. */
  readonly aeadCallsPerSec: number;
}

const LOOPBACK = '127.0.0.1';
const WARMUP_MS = 300;
const MEASURE_MS = 1_000;
/** On loopback nothing is lost while one is under way; if it is, measuring goes on. */
const ECHO_TIMEOUT_MS = 100;
/** Handed to the kernel before the next turn, so that the sender's loop stays alive. */
const FLOOD_BATCH = 32;
const AEAD_BATCH = 64;
/** As YCSB's keys, rounded up. */
const RECORD_KEY_BYTES = 24;
const DATA_KEY_BYTES = 32;
/** A value of the bench may be larger than a datagram or the sealing take. */
const VALUE_DATAGRAM_BYTES_MAX = 60_000;

export interface CalibrationOptions {
  readonly valueBytes: number;
  /** In force; undefined: as loopback has it. */
  readonly datagramBytes: number | undefined;
  /** Asked of the system; undefined: the usual. */
  readonly receiveBufferBytes: number | undefined;
}

export class Calibration {
  readonly #datagramBytes: number;
  readonly #rateDatagramBytes: readonly number[];
  readonly #peer: ChildProcess;
  readonly #opened: Extract<PeerAnswer, { type: 'opened' }>;
  readonly #transport: UdpTransport;
  readonly #handler: EchoHandler;
  readonly #echoP50s: number[] = [];
  readonly #echoP99s: number[] = [];
  #datagramsPerSec = { sent: 0, received: 0 };
  readonly #rawRates: RawRate[][] = [];
  #aeadCallsPerSec = 0;

  private constructor(
    options: CalibrationOptions,
    peer: ChildProcess,
    opened: Extract<PeerAnswer, { type: 'opened' }>,
    transport: UdpTransport,
  ) {
    this.#datagramBytes = Math.min(options.valueBytes, VALUE_DATAGRAM_BYTES_MAX);
    this.#rateDatagramBytes = [...new Set([options.datagramBytes ?? DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX])];
    this.#peer = peer;
    this.#opened = opened;
    this.#transport = transport;
    this.#handler = new EchoHandler(transport, opened.port, this.#datagramBytes);
    transport.start(this.#handler);
  }

  static async open(options: CalibrationOptions): Promise<Calibration> {
    const peer = fork(childPath('calibration-peer'), [], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    try {
      const receiveBufferBytes = options.receiveBufferBytes ?? null;
      const opened = await ask(peer, { type: 'open', host: LOOPBACK, receiveBufferBytes }, 'opened');
      const transport = await UdpTransport.open({ host: LOOPBACK, port: 0 });
      return new Calibration(options, peer, opened, transport);
    } catch (error) {
      peer.kill('SIGKILL');
      throw error;
    }
  }

  /** To be called once, while nothing else runs. */
  async measureRates(): Promise<void> {
    this.#aeadCallsPerSec = measureAead(Math.min(this.#datagramBytes, SEALED_VALUE_BYTES_MAX));
    await ask(this.#peer, { type: 'count' }, 'counted');
    const startMs = performance.now();
    const sent = await this.#handler.flood(MEASURE_MS);
    const elapsedSec = (performance.now() - startMs) / 1_000;
    const { received } = await ask(this.#peer, { type: 'count' }, 'counted');
    this.#datagramsPerSec = { sent: sent / elapsedSec, received: received / elapsedSec };
  }

  /** To be called in each round: processors sleep and wake differently from minute to minute. */
  async measureEcho(): Promise<void> {
    await ask(this.#peer, { type: 'echo' }, 'ready');
    await this.#handler.echo(WARMUP_MS);
    const summary = (await this.#handler.echo(MEASURE_MS)).summary();
    await ask(this.#peer, { type: 'count' }, 'counted');
    if (summary === undefined)
      throw new CommandFailure('error: no datagram came back over loopback: look at its firewall', EXIT_FAILED);
    this.#echoP50s.push(summary.p50);
    this.#echoP99s.push(summary.p99);
  }

  /** To be called in each round, as the echo. */
  async measureRawRates(): Promise<void> {
    const rates: RawRate[] = [];
    for (const datagramBytes of this.#rateDatagramBytes) {
      await ask(this.#peer, { type: 'acknowledge' }, 'ready');
      const { port, receiveBufferBytes } = this.#opened;
      const times = { warmupMs: WARMUP_MS, measureMs: MEASURE_MS };
      rates.push(await measureRawRate({ host: LOOPBACK, port, receiveBufferBytes, datagramBytes, ...times }));
      await ask(this.#peer, { type: 'count' }, 'counted');
    }
    this.#rawRates.push(rates);
  }

  result(): CalibrationResult {
    return {
      datagramBytes: this.#datagramBytes,
      echoUs: { p50: medianOf(this.#echoP50s), p99: medianOf(this.#echoP99s) },
      datagramsPerSec: this.#datagramsPerSec,
      rawRates: this.#rateDatagramBytes.map((datagramBytes, index) => ({
        datagramBytes,
        bytesPerSec: medianOf(this.#rawRates.map((rates) => rates[index]!.bytesPerSec)),
        lostShare: Math.max(...this.#rawRates.map((rates) => rates[index]!.lostShare)),
      })),
      aeadCallsPerSec: this.#aeadCallsPerSec,
    };
  }

  async close(): Promise<void> {
    await this.#transport.close();
    if (this.#peer.exitCode !== null || this.#peer.signalCode !== null) return;
    const exited = once(this.#peer, 'exit');
    // It has nothing to save.
    this.#peer.kill('SIGKILL');
    await exited;
  }
}

/** Sends to the peer: one datagram at a time that comes back, or as many as the kernel takes. */
class EchoHandler implements TransportHandler {
  readonly #transport: UdpTransport;
  readonly #peerPort: number;
  readonly #datagram: Uint8Array;
  #latency = new LatencyHistogram();
  #echoing = false;
  #sentMs = 0;
  #onSent: (() => void) | undefined;

  constructor(transport: UdpTransport, peerPort: number, datagramBytes: number) {
    this.#transport = transport;
    this.#peerPort = peerPort;
    this.#datagram = new Uint8Array(datagramBytes);
  }

  async echo(forMs: number): Promise<LatencyHistogram> {
    this.#latency = new LatencyHistogram();
    this.#echoing = true;
    this.#send(performance.now());
    const timer = setInterval(() => {
      if (performance.now() - this.#sentMs > ECHO_TIMEOUT_MS) this.#send(performance.now());
    }, ECHO_TIMEOUT_MS);
    await sleep(forMs);
    clearInterval(timer);
    this.#echoing = false;
    // What is still under way belongs to this measurement, not to the next.
    await sleep(ECHO_TIMEOUT_MS);
    return this.#latency;
  }

  /** Resolves with how many were sent, once the last has arrived or is lost. */
  async flood(forMs: number): Promise<number> {
    const endMs = performance.now() + forMs;
    let sent = 0;
    while (performance.now() < endMs) {
      let pending = FLOOD_BATCH;
      await new Promise<void>((resolve) => {
        this.#onSent = () => {
          if (--pending === 0) resolve();
        };
        for (let i = 0; i < FLOOD_BATCH; i++)
          this.#transport.send(i, this.#datagram, this.#datagram.length, LOOPBACK, this.#peerPort);
      });
      sent += FLOOD_BATCH;
    }
    this.#onSent = undefined;
    return sent;
  }

  onDatagram(): void {
    const nowMs = performance.now();
    if (!this.#echoing) return;
    this.#latency.recordMs(nowMs - this.#sentMs);
    this.#send(nowMs);
  }

  onSent(): void {
    this.#onSent?.();
  }

  /** The datagram never changes, so that it may be under way twice. */
  #send(nowMs: number): void {
    this.#sentMs = nowMs;
    this.#transport.send(0, this.#datagram, this.#datagram.length, LOOPBACK, this.#peerPort);
  }
}

/** Seals values in batches and opens them again, as a client does. */
function measureAead(valueBytes: number): number {
  const dataKey = randomBytes(DATA_KEY_BYTES);
  const sealing = createInlineSealing({ mode: 'secure', dataKeys: DataKeyRing.of(1, dataKey) });
  const envelopeBytes = ENVELOPE_HEADER_BYTES + valueBytes;
  const envelopes = Array.from({ length: AEAD_BATCH }, () => allocateRegion(envelopeBytes));
  const tags = new Int32Array((AEAD_BATCH * VALUE_TAG_BYTES) / 4);
  const key = allocateRegion(RECORD_KEY_BYTES);
  const sink = { onValueSealed: () => {}, onValueOpened: () => {} };
  let calls = 0;
  let startMs = performance.now();
  const warmupEndMs = startMs + WARMUP_MS;
  const endMs = warmupEndMs + MEASURE_MS;
  for (let warm = false; ; ) {
    for (let i = 0; i < AEAD_BATCH; i++) {
      sealing.submitSealValue(i, envelopes[i]!, 0, envelopeBytes, tags, i * 4, key.words, 0, RECORD_KEY_BYTES);
    }
    calls += sealing.drainValues(sink);
    for (let i = 0; i < AEAD_BATCH; i++) {
      sealing.submitOpenValue(i, envelopes[i]!, 0, envelopeBytes, tags, i * 4, key.words, 0, RECORD_KEY_BYTES);
    }
    calls += sealing.drainValues(sink);
    const nowMs = performance.now();
    if (!warm && nowMs >= warmupEndMs) {
      warm = true;
      calls = 0;
      startMs = nowMs;
    }
    if (nowMs >= endMs) {
      sealing.close();
      return (calls * 1_000) / (nowMs - startMs);
    }
  }
}

async function ask<T extends PeerAnswer['type']>(
  peer: ChildProcess,
  question: PeerQuestion,
  type: T,
): Promise<Extract<PeerAnswer, { type: T }>> {
  const answer = await new Promise<PeerAnswer>((resolve, reject) => {
    const onExit = (): void =>
      reject(new CommandFailure('error: the calibration process ended unexpectedly', EXIT_FAILED));
    if (peer.exitCode !== null || peer.signalCode !== null) onExit();
    peer.once('exit', onExit);
    peer.once('message', (message) => {
      peer.off('exit', onExit);
      resolve(message as PeerAnswer);
    });
    peer.send(question);
  });
  if (answer.type !== type) throw new Error(`the calibration process answered ${answer.type} instead of ${type}`);
  return answer as Extract<PeerAnswer, { type: T }>;
}
