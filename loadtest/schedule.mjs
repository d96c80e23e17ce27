/** Open loop: things happen when they are due, whatever came of those before. */

/**
 * Calls `act` for 0, 1, 2, … at the instant that `dueMsOf` gives (of `performance.now()`, never decreasing), a little late
 * when this process is busy, never early. Resolves when `dueMsOf` returns null.
 * @param {(number: number) => number | null} dueMsOf
 * @param {(number: number, dueMs: number) => void} act
 * @returns {Promise<void>}
 */
export function schedule(dueMsOf, act) {
  return new Promise((resolve) => {
    let next = 0;
    const tick = () => {
      for (;;) {
        const dueMs = dueMsOf(next);
        if (dueMs === null) return resolve();
        const waitMs = dueMs - performance.now();
        if (waitMs > 0) return setTimeout(tick, waitMs);
        act(next++, dueMs);
      }
    };
    tick();
  });
}

/**
 * `rate` a second, from now, for `durationS`.
 * @param {number} rate
 * @param {number} durationS
 */
export function atRate(rate, durationS) {
  const startMs = performance.now();
  const count = Math.max(1, Math.floor(durationS * rate));
  return (/** @type {number} */ number) => (number < count ? startMs + (number * 1000) / rate : null);
}
