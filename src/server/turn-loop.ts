/**
 * Node's event loop as turns: whatever arrives or is started within a loop iteration is queued, and one turn at its end
 * (setImmediate) handles all of it and sends the answers, batched. A timer only asks for a turn, so that datagrams that
 * wait in the socket are read before anything is taken as overdue.
 *
 * The timer is set for when something is due, and not for each millisecond: 32 busy clients on two cores that woke up
 * a thousand times a second did half as many operations.
 */

/** Handshakes, renewals and forming are looked after so often, whatever else is due. */
const IDLE_TICK_MS = 25;

export interface TurnHandler {
  turn(nowMs: number): void;
  /** When the next turn is due even if nothing arrives; Infinity when it need not be soon. */
  nextTurnMs(): number;
  /** Whether the turn left work for the next one, which then follows at once: the socket is read in between. */
  isWorkLeft(): boolean;
}

export class TurnLoop {
  readonly #handler: TurnHandler;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  /** What the timer is set for. */
  #timerMs = Infinity;
  #closed = false;
  readonly #run = (): void => {
    this.#scheduled = false;
    if (this.#closed) return;
    const nowMs = performance.now();
    this.#handler.turn(nowMs);
    if (this.#handler.isWorkLeft()) this.schedule();
    this.#arm(nowMs);
  };
  readonly #onTimer = (): void => {
    this.#timerMs = Infinity;
    this.schedule();
  };

  constructor(handler: TurnHandler) {
    this.#handler = handler;
    this.#arm(performance.now());
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

  /** A timer that fires too early is left alone: setting one costs more than a turn with nothing to do. */
  #arm(nowMs: number): void {
    if (this.#closed) return;
    const wantedMs = Math.min(this.#handler.nextTurnMs(), nowMs + IDLE_TICK_MS);
    if (wantedMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = wantedMs;
    this.#timer = setTimeout(this.#onTimer, Math.max(1, Math.ceil(wantedMs - nowMs)));
  }
}
