/** Waits between restarts of something that keeps dying: `firstMs`, doubling to `maxMs`. */
export interface BackoffRule {
  readonly firstMs: number;
  readonly maxMs: number;
  /** What lived at least this long was healthy: its next restart waits `firstMs` again. */
  readonly healthyMs: number;
}

export const restartBackoff: BackoffRule = { firstMs: 100, maxMs: 10_000, healthyMs: 30_000 };

export class Backoff {
  readonly #rule: BackoffRule;
  #failureCount = 0;

  constructor(rule: BackoffRule = restartBackoff) {
    this.#rule = rule;
  }

  /** The wait before the next start, after a life of `livedMs` (0 when it never got ready). */
  nextMs(livedMs: number): number {
    if (livedMs >= this.#rule.healthyMs) this.#failureCount = 0;
    return Math.min(this.#rule.maxMs, this.#rule.firstMs * 2 ** this.#failureCount++);
  }
}
