/**
 * Stops the process when the program's own state is wrong (TigerBeetle's rule: bad input is data, bad state is a
 * crash). Never used on what comes from the wire, a file or a caller: those get a drop reason or an error.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}
