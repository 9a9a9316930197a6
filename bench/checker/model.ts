/**
 * What a history is checked against: an object that does one operation at a time. The search knows nothing else of it, so
 * a new kind of operation is a new case of a model's step.
 */
export interface Model<State, Op> {
  readonly initial: State;
  /**
   * The state after the operation, or undefined when an operation in this state can't have ended as recorded. Nothing is
   * recorded of the result of an operation of unknown outcome; it must fit wherever it can take effect, and need not where
   * it has none.
   */
  step(state: State, operation: Op): State | undefined;
  /** The same text for equal states, another for others. */
  identify(state: State): string;
  /**
   * Whether the operation leaves this state as it is for all others, so that it may come at once wherever it fits. What step
   * makes of the state may keep count of it.
   */
  isReadOnly(operation: Op, state: State): boolean;
}

/** When an operation may have taken effect. Any numbers that order events, of one clock for all processes. */
export interface Interval {
  readonly start: number;
  /** Infinity: it may take effect at any time from its start on, or never. */
  readonly end: number;
}
