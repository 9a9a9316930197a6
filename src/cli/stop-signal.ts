/** Ctrl-C, a service manager, a closed terminal: all of them mean a clean end. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Resolves with the first of them. From the call on they no longer end the process by themselves, so that a second
 * Ctrl-C can't interrupt the cleaning up.
 */
export function untilStopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of STOP_SIGNALS) process.on(signal, () => resolve(signal));
  });
}
