/**
 * A proof measures or does something and says which claims it shows. Claims are about the product, in words that its
 * users understand; figures are what was seen, beside what was claimed.
 */
export interface Proof {
  /** For --only. */
  readonly name: string;
  /** What it is about, for when it fails before it has shown or refuted anything. */
  readonly subject: string;
  /** What takes longer hangs. */
  readonly timeoutMs: number;
  run(context: ProofContext): Promise<ClaimResult[]>;
}

export interface ProofContext {
  /** Shorter where that leaves the claim as it is; the figures say so. */
  readonly quick: boolean;
  /** For files of the proof's own; removed in the end. */
  readonly directory: string;
  /** Tells whoever waits what is being done. */
  readonly progress: (text: string) => void;
}

export interface ClaimResult {
  readonly claim: string;
  readonly ok: boolean;
  /** What it needs is not there, so that it is neither shown nor refuted: `ok` is false, and `figures` says what is missing. */
  readonly isNotRun?: true;
  /** One line. */
  readonly figures: string;
  /** More of them, in lines and columns. */
  readonly table?: string;
  /** The same for machines. */
  readonly data: Readonly<Record<string, unknown>>;
}

export function notRun(claim: string, reason: string): ClaimResult {
  return { claim, ok: false, isNotRun: true, figures: reason, data: {} };
}

export const MINUTE_MS = 60_000;
export const MIB = 2 ** 20;

export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

export function ms(us: number): string {
  return `${(us / 1_000).toFixed(2)} ms`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
