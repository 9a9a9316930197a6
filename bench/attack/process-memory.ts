import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';

/** The memory of another process, read and changed as the host that runs it can: Linux shows it as a file. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** Why that can't be done to a process; undefined when it can. */
export function whyNoAccess(processId: number): string | undefined {
  if (process.platform !== 'linux') return `${process.platform} has no /proc/<pid>/mem`;
  try {
    new ProcessMemory(processId).close();
    return undefined;
  } catch (error) {
    return `/proc/${processId}/mem can't be opened (${(error as NodeJS.ErrnoException).code})`;
  }
}

export class ProcessMemory {
  readonly #processId: number;
  readonly #file: number;

  constructor(processId: number) {
    this.#processId = processId;
    this.#file = openSync(`/proc/${processId}/mem`, 'r+');
  }

  /** Addresses at which the pattern lies in memory that the process itself may write. */
  find(pattern: Uint8Array): number[] {
    const found: number[] = [];
    const chunk = Buffer.alloc(CHUNK_BYTES + pattern.length - 1);
    for (const { start, end } of this.#writableRanges()) {
      for (let at = start; at < end; at += CHUNK_BYTES) {
        // Chunks overlap, so that a pattern across their border is found, once.
        const byteCount = this.#readInto(chunk.subarray(0, Math.min(chunk.length, end - at)), at);
        const content = chunk.subarray(0, byteCount);
        for (let i = content.indexOf(pattern); i !== -1; i = content.indexOf(pattern, i + 1)) found.push(at + i);
      }
    }
    return found;
  }

  read(address: number, byteCount: number): Buffer {
    const bytes = Buffer.alloc(byteCount);
    const count = this.#readInto(bytes, address);
    return bytes.subarray(0, count);
  }

  write(address: number, bytes: Uint8Array): void {
    writeSync(this.#file, bytes, 0, bytes.length, address);
  }

  flipBit(address: number, bit: number): void {
    const byte = this.read(address, 1);
    byte[0]! ^= 1 << bit;
    this.write(address, byte);
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Bytes read: none where the process has given the memory back meanwhile. */
  #readInto(target: Buffer, address: number): number {
    try {
      return readSync(this.#file, target, 0, target.length, address);
    } catch {
      return 0;
    }
  }

  /** proc(5): "start-end rwxp offset device inode path", addresses in hexadecimal. */
  *#writableRanges(): Iterable<{ start: number; end: number }> {
    for (const line of readFileSync(`/proc/${this.#processId}/maps`, 'latin1').split('\n')) {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
      if (match !== null) yield { start: Number.parseInt(match[1]!, 16), end: Number.parseInt(match[2]!, 16) };
    }
  }
}
