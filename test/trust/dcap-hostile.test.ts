import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { QUOTE_SHAPES } from './dcap-plan.ts';
import { makeDcapWorld } from './dcap-world.ts';
import type { DcapWorld } from './dcap-world.ts';
import { changeEachByte } from './each-byte.ts';

/** Nothing that a stranger hands in throws, and nothing but the whole quote with the whole collateral is accepted. */
const worlds = new Map(QUOTE_SHAPES.map((shape) => [shape, makeDcapWorld(shape)]));
const anyWorld = fc.constantFrom(...worlds.values());

function isAccepted(world: DcapWorld, changed: Parameters<DcapWorld['verify']>[0]): boolean {
  const verification = world.verify(changed);
  if (!verification.ok) assert(verification.allowed.length > 0 && verification.seen.length > 0);
  return verification.ok;
}

test('a changed byte anywhere in a quote is refused', () => {
  // The real quotes (real-dcap.test.ts) have each of their bytes changed; here some stand for their neighbours.
  for (const [shape, step] of [['sgx 3', 1] as const, ['tdx 4', 16] as const]) {
    const world = worlds.get(shape)!;
    const chainOffset = world.quote.indexOf('-----BEGIN');
    assert(isAccepted(world, {}));
    changeEachByte(world.quote, (quote, offset) => {
      if (offset % (offset < chainOffset ? step : 8 * step) !== 0) return;
      assert(!isAccepted(world, { quote }), `byte ${offset} was changed and the quote accepted: ${shape}`);
    });
    assert(isAccepted(world, {}));
  }
});

test('a changed byte in a list, a signature or a statement is refused', () => {
  const world = worlds.get('tdx 4')!;
  for (const field of ['root_ca_crl', 'pck_crl', 'tcb_info_signature', 'qe_identity_signature']) {
    changeEachByte(Buffer.from(world.collateral[field]!, 'hex'), (bytes, offset) => {
      const collateral = { ...world.collateral, [field]: bytes.toString('hex') };
      assert(!isAccepted(world, { collateral }), `byte ${offset} of ${field}`);
    });
  }
  for (const field of ['tcb_info', 'qe_identity']) {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 127 }), (at, flip) => {
        const text = Buffer.from(world.collateral[field]!);
        text[at % text.length]! ^= flip;
        return !isAccepted(world, { collateral: { ...world.collateral, [field]: text.toString() } });
      }),
      { numRuns: 100 },
    );
  }
});

test('a quote that is cut anywhere is refused', () => {
  const world = worlds.get('tdx 5, 1.5')!;
  for (let byteCount = 0; byteCount < world.quote.length; byteCount += 7) {
    assert(!isAccepted(world, { quote: world.quote.subarray(0, byteCount) }), `${byteCount} bytes`);
  }
});

test('any bytes for a quote or for collateral are refused', () => {
  const bytes = fc.uint8Array({ maxLength: 2000 });
  fc.assert(
    fc.property(anyWorld, bytes, (world, junk) => {
      const spliced = Buffer.concat([world.quote.subarray(0, junk.length), junk]);
      return (
        !isAccepted(world, { quote: junk }) &&
        !isAccepted(world, { collateral: junk }) &&
        !isAccepted(world, { quote: spliced })
      );
    }),
    { numRuns: 300 },
  );
});

test('any number for a length in a quote is refused', () => {
  const world = worlds.get('sgx 3')!;
  const end = world.quote.length;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: end - 4 }), fc.nat(0xffff_ffff), (offset, value) => {
      const quote = Buffer.from(world.quote);
      fc.pre(quote.readUInt32LE(offset) !== value);
      quote.writeUInt32LE(value, offset);
      return !isAccepted(world, { quote });
    }),
    { numRuns: 500 },
  );
});

test('any value in any field of the collateral and of what it holds is refused or is no change', () => {
  const value = fc.oneof(fc.jsonValue(), fc.string(), fc.bigInt().map(String), fc.constant('__proto__'));
  fc.assert(
    fc.property(anyWorld, fc.nat(), fc.nat(), value, (world, field, inner, junk) => {
      const fields = Object.keys(world.collateral);
      const name = fields[field % fields.length]!;
      const whole = isAccepted(world, { collateral: { ...world.collateral, [name]: junk } });
      const statement = JSON.parse(world.collateral['tcb_info']!) as Record<string, unknown>;
      const names = Object.keys(statement);
      statement[names[inner % names.length]!] = junk;
      const part = isAccepted(world, { collateral: { ...world.collateral, tcb_info: JSON.stringify(statement) } });
      return !whole && !part;
    }),
    { numRuns: 300 },
  );
});

test('DER of any shape in the certificates’ place is refused', () => {
  const world = worlds.get('sgx 3')!;
  const begin = world.quote.indexOf('-----BEGIN');
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const pem = world.quote.subarray(begin, -1).toString('latin1');
      const [first, ...others] = pem.split('-----END CERTIFICATE-----\n');
      const der = Buffer.from(first!.slice('-----BEGIN CERTIFICATE-----\n'.length), 'base64');
      der[at % der.length]! ^= flip;
      const changed = `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{1,64}/g, '$&\n')}`;
      const quote = Buffer.concat([
        world.quote.subarray(0, begin),
        Buffer.from([changed, ...others].join('-----END CERTIFICATE-----\n')),
        Buffer.from([0]),
      ]);
      return quote.length === world.quote.length && !isAccepted(world, { quote });
    }),
    { numRuns: 500 },
  );
});
