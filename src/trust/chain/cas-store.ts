import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bytesOfHex } from '../hex.ts';
import { fileError } from '../cluster-files.ts';
import { AdmittedClients } from './admitted-clients.ts';
import { AuditLog, auditError, verifyAuditLog } from './audit-log.ts';
import type { AuditDetail, AuditEvent } from './audit-log.ts';
import { AUDIT_FILE, BACKUP_FILE, openState, sealState, skipAhead, STATE_FILE, stateHash } from './cas-state.ts';
import type { CasState, LasRecord } from './cas-state.ts';
import type { WitnessWord } from './messages.ts';
import { readSecretBytes, writeSecretFile } from './secret-file.ts';
import { signDocument } from './signed-document.ts';
import { askWitnesses, tellWitnesses } from './state-witness.ts';
import type { StateWitness, WitnessVerdict } from './state-witness.ts';

/**
 * The state of CAS, on disk and at the witnesses. Changes are made in memory at once and written together: whoever waits
 * for written() knows that a state with his change lies on the disk, and what the witnesses said of it.
 */
export interface CasStoreOptions {
  readonly directory: string;
  readonly sealingKey: Uint8Array;
  readonly witnessOf: (las: LasRecord) => StateWitness;
  readonly nowMs: () => number;
}

const DIRECTORY_MODE = 0o700;

export class CasStore {
  readonly state: CasState;
  /** Called when the state, as it is, lies on the disk. */
  onDurable: (() => void) | undefined;
  readonly clients = new AdmittedClients();
  readonly #options: CasStoreOptions;
  readonly #audit: AuditLog;
  #isRecovered = false;
  #failure: string | undefined;
  #heldCounter = 0;
  #writing: Promise<WitnessVerdict> | undefined;
  #next: Promise<WitnessVerdict> | undefined;

  /** @throws AvocadoError CLUSTER_FILES when the log is not the state's. */
  private constructor(state: CasState, options: CasStoreOptions) {
    this.state = state;
    this.#options = options;
    const path = join(options.directory, AUDIT_FILE);
    const { clusterPublicKey, clusterSecretKey } = this;
    const verdict = verifyAuditLog(path, clusterPublicKey, state.audit, (entry) => this.clients.note(entry));
    if (!verdict.ok) throw auditError(path, verdict);
    this.#audit = new AuditLog(path, clusterSecretKey, verdict);
  }

  /** @throws AvocadoError CLUSTER_FILES when the directory holds something already. */
  static create(state: CasState, options: CasStoreOptions): CasStore {
    const { directory } = options;
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    // A backup alone may be all that is left of a cluster.
    if ([STATE_FILE, BACKUP_FILE, AUDIT_FILE].some((name) => existsSync(join(directory, name)))) {
      throw fileError(
        directory,
        'holds a CAS already, or its backup: give another directory, or start or recover that one',
      );
    }
    return new CasStore(state, options);
  }

  /**
   * What is wrong with the state or the log is an AvocadoError CLUSTER_FILES; whether the state is the newest only
   * witnesses can say: ask().
   */
  static open(options: CasStoreOptions): CasStore {
    const path = join(options.directory, STATE_FILE);
    const sealed = readSecretBytes(path);
    if (sealed === undefined) {
      const names = existsSync(options.directory) ? readdirSync(options.directory) : [];
      const advice = names.includes(BACKUP_FILE) ? 'recover it from its backup' : 'make a new CAS there';
      throw fileError(path, `is missing: give the directory of a CAS, or ${advice}`);
    }
    const state = openState(sealed, options.sealingKey, 'state');
    if (state === undefined) {
      throw fileError(
        path,
        'does not open: it was changed, or it was sealed on another machine or by another build; recover it from its backup',
      );
    }
    return new CasStore(state, options);
  }

  /** With a state that was opened from a backup (recovery.ts). */
  static recovered(state: CasState, options: CasStoreOptions): CasStore {
    const store = new CasStore(state, options);
    store.#isRecovered = true;
    return store;
  }

  get clusterPublicKey(): Uint8Array {
    return bytesOfHex(this.state.clusterPublicKey);
  }

  get clusterSecretKey(): Uint8Array {
    return bytesOfHex(this.state.clusterSecretKey);
  }

  get auditHead(): { readonly count: number; readonly hash: string } {
    return this.#audit.head;
  }

  /** Why nothing may be decided any more: the log does not have what was decided last. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** The latest state that a majority of the witnesses, or an operator, has held for the newest. */
  get heldCounter(): number {
    return this.#heldCounter;
  }

  /** @throws AvocadoError CLUSTER_FILES when the log can't be written; then nothing is decided any more. */
  audit(event: AuditEvent, detail: AuditDetail): void {
    try {
      this.clients.note(this.#audit.append(event, detail, this.#options.nowMs()));
    } catch (error) {
      this.#failure ??= (error as Error).message;
      throw error;
    }
  }

  /** An operator has confirmed the state, and nobody knows whether there was a later one. */
  confirmedByOperator(): void {
    skipAhead(this.state);
    this.#heldCounter = this.state.counter;
  }

  /** All changes until now are on the disk when it resolves. */
  written(): Promise<WitnessVerdict> {
    if (this.#writing === undefined) return this.#start();
    // One write is under way, perhaps without the caller's change: the next one takes it, and all that come until then.
    this.#next ??= this.#writing.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<WitnessVerdict> {
    this.#next = undefined;
    const writing = this.#write().finally(() => {
      if (this.#writing === writing) this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async #write(): Promise<WitnessVerdict> {
    const { directory, sealingKey } = this.#options;
    this.state.counter++;
    this.state.audit = { ...this.#audit.head };
    const sealed = sealState(this.state, sealingKey, 'state');
    const backup = sealState(this.state, bytesOfHex(this.state.recoveryKey), 'backup');
    writeSecretFile(join(directory, STATE_FILE), sealed, 'replace');
    this.#isRecovered = false;
    writeSecretFile(join(directory, BACKUP_FILE), backup, 'replace');
    this.onDurable?.();
    const own = this.#wordOf(sealed);
    const word = signDocument('state witness', own, this.clusterSecretKey);
    const verdict = await tellWitnesses(this.#witnesses(), word, own, this.clusterPublicKey);
    if (verdict.type === 'held' || this.isAlone) this.#heldCounter = own.counter;
    return verdict;
  }

  /** Without any LAS all joins are by evidence of their own, and nobody but operators tells an old state. */
  get isAlone(): boolean {
    return !this.state.lases.some(({ revoked }) => !revoked);
  }

  /** Whether a later state than the one on the disk was ever written. */
  async ask(): Promise<WitnessVerdict> {
    const sealed = readSecretBytes(join(this.#options.directory, STATE_FILE));
    // From a backup there is only the counter to compare: its seal is another one.
    const own =
      sealed === undefined || this.#isRecovered
        ? { clusterId: this.state.clusterId, counter: this.state.counter, stateHash: null }
        : this.#wordOf(sealed);
    const verdict = await askWitnesses(this.#witnesses(), own, this.clusterPublicKey);
    if (verdict.type === 'held') this.#heldCounter = own.counter;
    return verdict;
  }

  #wordOf(sealed: Uint8Array): WitnessWord {
    return { clusterId: this.state.clusterId, counter: this.state.counter, stateHash: stateHash(sealed) };
  }

  #witnesses(): StateWitness[] {
    return this.state.lases.filter(({ revoked }) => !revoked).map((las) => this.#options.witnessOf(las));
  }
}
