/**
 * Node's event loop as turns: whatever arrives or is started within a loop iteration is queued, and one turn at its end
 * (setImmediate) handles all of it and sends the answers, batched. A timer only asks for a turn, so that datagrams that
 * wait in the socket are read before anything is taken as overdue.
 */
const BUSY_TICK_MS = 1;
const IDLE_TICK_MS = 25;

export interface TurnHandler {
  turn(nowMs: number): void;
  /** True while timers of a millisecond are needed. */
  isBusy(): boolean;
}

export class TurnLoop {
  readonly #handler: TurnHandler;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #timerIsBusy = false;
  #closed = false;
  readonly #run = (): void => {
    this.#scheduled = false;
    if (this.#closed) return;
    this.#handler.turn(performance.now());
    if (!this.#timerIsBusy && this.#handler.isBusy()) this.#arm();
  };
  readonly #onTimer = (): void => {
    this.#arm();
    this.schedule();
  };

  constructor(handler: TurnHandler) {
    this.#handler = handler;
    this.#arm();
  }

  /** Asks for a turn at the end of this iteration. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timerIsBusy = this.#handler.isBusy();
    this.#timer = setTimeout(this.#onTimer, this.#timerIsBusy ? BUSY_TICK_MS : IDLE_TICK_MS);
  }
}
