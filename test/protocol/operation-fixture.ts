import { alignUp } from '../../net/bytes.ts';
import { OperationTable } from '../../src/protocol/operation-table.ts';
import { Requests } from '../../src/protocol/requests.ts';
import { HostMemory } from '../../src/store/host-memory.ts';
import { TrustedBudget } from '../../src/store/trusted-budget.ts';
import { MessageRecorder } from './fixtures.ts';
import type { Stamp } from './fixtures.ts';

/** An operation in a table, as the coordinator would have put it there. */
export function operationWith(keyBytes: Uint8Array, envelopeBytes: Uint8Array, tagWords: Int32Array, newest: Stamp) {
  const memory = new HostMemory({ budget: TrustedBudget.unbounded(), hostBytesMax: 2 ** 22 });
  const table = new OperationTable(300, memory);
  while (table.active < 258) table.take();
  const slot = table.take();
  const place = (bytes: Uint8Array) => {
    const ref = memory.allocate(Math.max(1, alignUp(bytes.length)));
    const start = memory.wordOffset(ref) * 4;
    memory.region(ref).bytes.fill(0, start, start + alignUp(bytes.length));
    memory.region(ref).bytes.set(bytes, start);
    return ref;
  };
  table.keyRef[slot] = place(keyBytes);
  table.keyBytes[slot] = keyBytes.length;
  table.allocateEnvelope(slot, envelopeBytes.length);
  table.envelopeRegion[slot]!.bytes.set(envelopeBytes, table.envelopeWord[slot]! * 4);
  table.tags.set(tagWords, table.tagWord(slot));
  table.counter[slot] = newest.counter;
  table.writerHigh[slot] = newest.writerHigh;
  table.writerLow[slot] = newest.writerLow;
  table.rmw[slot] = newest.rmw;
  table.generation[slot] = -77;
  const messenger = new MessageRecorder();
  return { table, slot, messenger, requests: new Requests(table, messenger) };
}
