/**
 * How fast a hot prefix may spread: after one endpoint has begun to compute it, for a while no other does. Without it a burst that arrives within one prefill opens replica after replica, each for a copy that is nearly ready
 * elsewhere. A fixed table, a root a place; two roots that meet in one place forget each other, and are then not limited.
 */
export class ReplicaLimiter {
  readonly #mask: number;
  readonly #roots: Int32Array;
  readonly #closedUntilMs: Float64Array;

  /** `rootCount`: a power of two. */
  constructor(rootCount = 1024) {
    this.#mask = rootCount - 1;
    this.#roots = new Int32Array(rootCount);
    this.#closedUntilMs = new Float64Array(rootCount);
  }

  /** @hot per pick. */
  isOpen(root: number, nowMs: number): boolean {
    const place = root & this.#mask;
    return this.#roots[place] !== (root | 0) || nowMs >= this.#closedUntilMs[place]!;
  }

  /** @hot per pick. An endpoint begins to compute the root's prefix; no other may before `untilMs`. */
  close(root: number, untilMs: number): void {
    const place = root & this.#mask;
    this.#roots[place] = root | 0;
    this.#closedUntilMs[place] = untilMs;
  }
}
