import { setTimeout as delay } from 'node:timers/promises';

/** Lets the event loop turn `count` times: sockets of this process are polled once in each. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** For what happens in another process: resolves when `holds`, asked every 20 ms; rejects after `boundMs` with `what`. */
export function eventuallyWithin(boundMsDefault: number) {
  return async (
    what: string,
    holds: () => boolean | Promise<boolean>,
    boundMs: number = boundMsDefault,
  ): Promise<void> => {
    const endMs = performance.now() + boundMs;
    while (!(await holds())) {
      if (performance.now() > endMs) throw new Error(`not within ${boundMs} ms: ${what}`);
      await delay(20);
    }
  };
}

/** Resolves in the turn in which `condition` holds; rejects after `boundMs` with `what`, and what it looked like then. */
export async function until(
  condition: () => boolean,
  what: string,
  boundMs = 5000,
  state: () => unknown = () => '',
): Promise<void> {
  const endMs = performance.now() + boundMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${boundMs} ms: ${what} ${JSON.stringify(state())}`);
    await turns(1);
  }
}
