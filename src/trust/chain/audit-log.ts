import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { z } from 'zod';
import { assert } from '../../../net/assert.ts';
import { hash } from '../../../workers/signing.ts';
import { AvocadoError } from '../../errors.ts';
import { fileError } from '../cluster-files.ts';
import { hexOf } from '../hex.ts';
import { hexOfBytes } from '../evidence/strict-json.ts';
import { documentJson, openDocument, SIGNED_DOCUMENT, signDocument } from './signed-document.ts';
import { openSecretFile } from './secret-file.ts';

/**
 * Every decision of CAS, a line each. A line is signed by the cluster key and names the hash of the line before it: none
 * can be changed, left out or put in. Lines cut from the end show by the count and the hash that CAS keeps in its sealed
 * state and tells whoever asks.
 */
export const AUDIT_EVENTS = [
  'initialised',
  'started',
  'las-attested',
  'las-refused',
  'admitted',
  'lapsed',
  'refused',
  'suppressed',
  'operator-command',
  'operator-refused',
  'data-key',
] as const;

const ENTRY = z.strictObject({
  index: z.int().min(0),
  timeMs: z.int(),
  event: z.enum(AUDIT_EVENTS),
  /** What it was about, and why; for people and for searching. */
  detail: z.record(z.string().max(64), z.union([z.string().max(2_048), z.number(), z.boolean(), z.null()])),
  /** Hex: hash of the line before; zeros in the first. */
  previous: hexOfBytes(32),
});
export type AuditEntry = z.output<typeof ENTRY>;
export type AuditEvent = AuditEntry['event'];
export type AuditDetail = AuditEntry['detail'];

export interface AuditHead {
  readonly count: number;
  readonly hash: string;
}

export const AUDIT_START: AuditHead = { count: 0, hash: '0'.repeat(64) };

export class AuditLog {
  readonly #path: string;
  readonly #secretKey: Uint8Array;
  #head: AuditHead;
  #byteCount: number;

  /** @param whole The file as it is: verifyAuditLog. An entry that was not finished, as CAS ended meanwhile, is cut off. */
  constructor(path: string, secretKey: Uint8Array, { head, byteCount, tornBytes }: AuditVerdict & { ok: true }) {
    this.#path = path;
    this.#secretKey = secretKey;
    this.#head = head;
    this.#byteCount = byteCount;
    if (tornBytes > 0) truncateSync(path, byteCount);
  }

  get head(): AuditHead {
    return this.#head;
  }

  /**
   * On the disk when it returns.
   * @throws AvocadoError CLUSTER_FILES when it can't be; then nothing of the entry is left.
   */
  append(event: AuditEvent, detail: AuditDetail, nowMs: number): AuditEntry {
    const entry: AuditEntry = {
      index: this.#head.count,
      timeMs: Math.floor(nowMs),
      event,
      detail,
      previous: this.#head.hash,
    };
    assert(ENTRY.safeParse(entry).success, 'an entry that is written can be read');
    const line = JSON.stringify(documentJson(signDocument('audit entry', entry, this.#secretKey)));
    const bytes = Buffer.from(`${line}\n`);
    this.#write(bytes);
    this.#byteCount += bytes.length;
    this.#head = { count: this.#head.count + 1, hash: hashOfLine(line) };
    return entry;
  }

  #write(bytes: Buffer): void {
    let file: number | undefined;
    try {
      file = openSync(this.#path, 'a', 0o600);
      const { size } = fstatSync(file);
      if (size !== this.#byteCount) {
        throw fileError(
          this.#path,
          `has ${size} bytes, and this CAS has written ${this.#byteCount}: another one writes to it, or it was changed; run one CAS on a directory`,
        );
      }
      try {
        writeFileSync(file, bytes);
        fsyncSync(file);
      } catch (error) {
        ftruncateSync(file, this.#byteCount);
        throw error;
      }
    } catch (error) {
      if (error instanceof AvocadoError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      throw fileError(
        this.#path,
        `can't be written (${code}): make room for it, or give its owner the right to`,
        error,
      );
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}

export type AuditVerdict =
  | {
      readonly ok: true;
      readonly head: AuditHead;
      /** Of the entries. */
      readonly byteCount: number;
      /** Behind the last entry, of one that was not finished: nothing was answered for that it tells of. */
      readonly tornBytes: number;
    }
  /** The line, from 1, at which it stops being whole. */
  | { readonly ok: false; readonly line: number; readonly reason: string };

/**
 * @param expected The log must hold at least these: what CAS remembers or tells.
 * @param onEntry Gets each entry that is right.
 * @throws AvocadoError CLUSTER_FILES when the file can't be read.
 */
export function verifyAuditLog(
  path: string,
  clusterPublicKey: Uint8Array,
  expected = AUDIT_START,
  onEntry: (entry: AuditEntry) => void = () => {},
): AuditVerdict {
  const file = openSecretFile(path);
  if (file === undefined) {
    if (expected.count === 0) return { ok: true, head: AUDIT_START, byteCount: 0, tornBytes: 0 };
    return { ok: false, line: 1, reason: `the log is missing, ${expected.count} entries are known` };
  }
  try {
    return verifyLines(linesOf(file), clusterPublicKey, expected, onEntry);
  } finally {
    closeSync(file);
  }
}

function verifyLines(
  lines: Iterable<Line>,
  clusterPublicKey: Uint8Array,
  expected: AuditHead,
  onEntry: (entry: AuditEntry) => void,
): AuditVerdict {
  let head = AUDIT_START;
  let byteCount = 0;
  let tornBytes = 0;
  for (const line of lines) {
    const wrong = (reason: string): AuditVerdict => ({ ok: false, line: head.count + 1, reason });
    if (line.type === 'too-long') return wrong('it is too long');
    if (line.type === 'torn') {
      tornBytes = line.byteCount;
      break;
    }
    const { text } = line;
    const entry = entryOf(text, clusterPublicKey);
    if (entry === undefined) return wrong('it is not signed by the cluster key');
    if (entry.index !== head.count) return wrong(`it is entry ${entry.index}, and entry ${head.count} belongs here`);
    if (entry.previous !== head.hash) return wrong('it follows another entry than the one before it');
    const next = { count: head.count + 1, hash: hashOfLine(text) };
    if (next.count === expected.count && next.hash !== expected.hash) return wrong('CAS knows another entry here');
    onEntry(entry);
    head = next;
    byteCount += line.byteCount;
  }
  if (head.count < expected.count) {
    return { ok: false, line: head.count + 1, reason: `it ends here, and CAS knows ${expected.count} entries` };
  }
  return { ok: true, head, byteCount, tornBytes };
}

type Line =
  /** With its newline in the count. */
  | { readonly type: 'whole'; readonly text: string; readonly byteCount: number }
  /** The last one, without a newline. */
  | { readonly type: 'torn'; readonly byteCount: number }
  | { readonly type: 'too-long' };

const CHUNK_BYTES = 64 * 1024;
/** An entry has some 600; texts in it are bounded. */
const LINE_BYTES_MAX = 32 * 1024;
const NEWLINE = 0x0a;

/** The log may be long: it is never in memory as a whole. */
function* linesOf(file: number): Generator<Line> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let rest = Buffer.alloc(0);
  for (;;) {
    const readBytes = readSync(file, chunk);
    if (readBytes === 0) break;
    let bytes = Buffer.concat([rest, chunk.subarray(0, readBytes)]);
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
      yield { type: 'whole', text: bytes.toString('utf8', 0, end), byteCount: end + 1 };
      bytes = bytes.subarray(end + 1);
    }
    if (bytes.length > LINE_BYTES_MAX) {
      yield { type: 'too-long' };
      return;
    }
    rest = bytes;
  }
  if (rest.length > 0) yield { type: 'torn', byteCount: rest.length };
}

export function auditError(path: string, verdict: AuditVerdict & { ok: false }): AvocadoError {
  return new AvocadoError('CLUSTER_FILES', `${path} was changed, line ${verdict.line}: ${verdict.reason}`);
}

function entryOf(line: string, clusterPublicKey: Uint8Array): AuditEntry | undefined {
  try {
    const document = SIGNED_DOCUMENT.safeParse(JSON.parse(line));
    return document.success ? openDocument(document.data, 'audit entry', ENTRY, clusterPublicKey) : undefined;
  } catch {
    return undefined;
  }
}

function hashOfLine(line: string): string {
  return hexOf(hash(new TextEncoder().encode(line)));
}
