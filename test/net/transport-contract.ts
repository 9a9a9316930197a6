/** What every Transport must do. Nothing here counts on a datagram being there at once, only on its coming. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Transport } from '../../net/transport.ts';

export interface TransportKit {
  /** A transport at an address of its own. */
  open(): Promise<Transport>;
  /** Another one at the same address: rejects. */
  openAgain(transport: Transport): Promise<Transport>;
  /** Lets time pass until the condition holds; rejects when it never does. */
  until(condition: () => boolean): Promise<void>;
}

interface Heard {
  readonly bytes: Uint8Array;
  readonly host: string;
  readonly port: number;
}

/** A transport with a handler that takes down what it is told. */
class Listener {
  readonly heard: Heard[] = [];
  readonly sent: { token: number; failed: boolean }[] = [];
  readonly transport: Transport;
  sending = false;

  constructor(transport: Transport) {
    this.transport = transport;
    transport.start({
      onDatagram: (bytes, host, port) => this.heard.push({ bytes, host, port }),
      onSent: (token, failed) => {
        assert.equal(this.sending, false, 'onSent never comes from inside send()');
        this.sent.push({ token, failed });
      },
    });
  }

  send(token: number, buffer: Uint8Array, byteCount: number, to: { host: string; port: number }): void {
    this.sending = true;
    this.transport.send(token, buffer, byteCount, to.host, to.port);
    this.sending = false;
  }
}

const FIRST_BYTES = Uint8Array.from({ length: 600 }, (_, i) => i);

function ascending(a: number, b: number): number {
  return a - b;
}

export function transportContract(name: string, makeKit: () => TransportKit): void {
  /** Two listeners; closed when the body is done. */
  async function pair(body: (a: Listener, b: Listener, kit: TransportKit) => Promise<void>): Promise<void> {
    const kit = makeKit();
    const a = new Listener(await kit.open());
    const b = new Listener(await kit.open());
    try {
      await body(a, b, kit);
    } finally {
      await a.transport.close();
      await b.transport.close();
    }
  }

  describe(name, () => {
    test('should hand over exactly the bytes that were sent, with the address to answer to', () =>
      pair(async (a, b, kit) => {
        a.send(0, FIRST_BYTES, 599, b.transport);
        await kit.until(() => b.heard.length === 1);
        const { bytes, host, port } = b.heard[0]!;
        assert.deepEqual(Uint8Array.from(bytes), FIRST_BYTES.slice(0, 599));
        b.send(0, FIRST_BYTES, 8, { host, port });
        await kit.until(() => a.heard.length === 1);
        assert.deepEqual([a.heard[0]!.host, a.heard[0]!.port], [b.transport.host, b.transport.port]);
      }));

    test('should keep the borders of datagrams', () =>
      pair(async (a, b, kit) => {
        const lengths = [24, 1, 1_472, 300, 65_504];
        const buffer = new Uint8Array(65_504);
        lengths.forEach((length, token) => a.send(token, buffer, length, b.transport));
        await kit.until(() => b.heard.length === lengths.length);
        assert.deepEqual(b.heard.map(({ bytes }) => bytes.length).toSorted(ascending), lengths.toSorted(ascending));
      }));

    test('should report each send once, by its token, and never from inside send()', () =>
      pair(async (a, b, kit) => {
        for (const token of [7, 0, 255]) a.send(token, FIRST_BYTES, 64, b.transport);
        assert.deepEqual(a.sent, []);
        await kit.until(() => a.sent.length >= 3 && b.heard.length >= 3);
        assert.deepEqual(a.sent.map(({ token }) => token).toSorted(ascending), [0, 7, 255]);
        assert.ok(a.sent.every(({ failed }) => !failed));
      }));

    test('should leave a received datagram to its handler: the buffer it was sent from may be used again', () =>
      pair(async (a, b, kit) => {
        const buffer = FIRST_BYTES.slice();
        a.send(3, buffer, 64, b.transport);
        await kit.until(() => a.sent.length === 1);
        buffer.fill(0xee);
        a.send(3, buffer, 64, b.transport);
        await kit.until(() => b.heard.length === 2);
        assert.deepEqual(Uint8Array.from(b.heard[0]!.bytes), FIRST_BYTES.slice(0, 64));
        assert.deepEqual(Uint8Array.from(b.heard[1]!.bytes), new Uint8Array(64).fill(0xee));
      }));

    test('should report a datagram that is too large for the network as failed, and go on', () =>
      pair(async (a, b, kit) => {
        a.send(1, new Uint8Array(70_000), 65_508, b.transport);
        await kit.until(() => a.sent.length === 1);
        assert.deepEqual(a.sent, [{ token: 1, failed: true }]);
        a.send(2, FIRST_BYTES, 8, b.transport);
        await kit.until(() => b.heard.length === 1);
      }));

    test('should lose what is sent to an address where nobody listens, and go on', () =>
      pair(async (a, b, kit) => {
        const gone = await kit.open();
        await gone.close();
        for (const token of [1, 2]) a.send(token, FIRST_BYTES, 64, gone);
        a.send(3, FIRST_BYTES, 64, b.transport);
        await kit.until(() => a.sent.length === 3 && b.heard.length === 1);
      }));

    test('should take back the memory of a datagram, and no other: what it held is gone', () =>
      pair(async (a, b, kit) => {
        for (const token of [1, 2, 3]) a.send(token, FIRST_BYTES, 600, b.transport);
        await kit.until(() => b.heard.length === 3);
        b.transport.release(b.heard[1]!.bytes);
        assert.notEqual(b.heard[1]!.bytes[1], FIRST_BYTES[1]);
        for (const kept of [0, 2]) assert.deepEqual(Uint8Array.from(b.heard[kept]!.bytes), FIRST_BYTES);
        a.send(1, FIRST_BYTES, 600, b.transport);
        await kit.until(() => b.heard.length === 4);
        assert.deepEqual(Uint8Array.from(b.heard[3]!.bytes), FIRST_BYTES);
      }));

    test('should refuse an address that is in use', async () => {
      const kit = makeKit();
      const first = await kit.open();
      await assert.rejects(kit.openAgain(first), { code: 'EADDRINUSE' });
      await first.close();
    });

    test('should take calls after close without a word', () =>
      pair(async (a, b, kit) => {
        await a.transport.close();
        await a.transport.close();
        a.send(1, FIRST_BYTES, 64, b.transport);
        const c = new Listener(await kit.open());
        c.send(1, FIRST_BYTES, 72, b.transport);
        await kit.until(() => b.heard.length > 0);
        assert.deepEqual(
          b.heard.map(({ bytes }) => bytes.length),
          [72],
        );
        await c.transport.close();
      }));

    test('should tell how much its receive buffer holds', () =>
      pair(async (a) => {
        assert.ok(a.transport.receiveBufferBytes >= 4_096);
      }));
  });
}
