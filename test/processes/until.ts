import { setTimeout as sleep } from 'node:timers/promises';

/** Waiting for what other processes do: asked again and again, bounded, and named when it does not come. */
const ASK_INTERVAL_MS = 10;
/** A busy machine takes seconds to start a process; a minute means that nothing will come. */
const TIMEOUT_MS_DEFAULT = 60_000;

/** The first answer that is neither undefined nor false. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  timeoutMs = TIMEOUT_MS_DEFAULT,
): Promise<T> {
  const startMs = performance.now();
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() - startMs >= timeoutMs) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await sleep(ASK_INTERVAL_MS);
  }
}
