/** What was possible yesterday may have been something else. */
const halfLifeMs = 3_600_000;

/** How fast a count grows, from samples of it: over a window, and at best. */
export class RateGauge {
  readonly #totals: Int32Array;
  readonly #atMs: Float64Array;
  readonly #sampleCount: number;
  #count = 0;
  /** A second, over the last window, or what there is of it. */
  now = 0;
  /** The most that a whole window had; half of it is forgotten in an hour. */
  best = 0;

  /** `windowCount`: periods between samples that make a window. */
  constructor(windowCount: number) {
    this.#sampleCount = windowCount + 1;
    this.#totals = new Int32Array(this.#sampleCount);
    this.#atMs = new Float64Array(this.#sampleCount);
  }

  /** `total` is an integer of 32 bits, and wraps. */
  sample(total: number, nowMs: number): void {
    const sampleCount = this.#sampleCount;
    const last = (this.#count + sampleCount - 1) % sampleCount;
    if (this.#count > 0) this.best *= 0.5 ** ((nowMs - this.#atMs[last]!) / halfLifeMs);
    const at = this.#count % sampleCount;
    const isFull = this.#count >= sampleCount - 1;
    const first = isFull ? (at + 1) % sampleCount : 0; // A window ago.
    this.#totals[at] = total;
    this.#atMs[at] = nowMs;
    this.#count++;
    const tookMs = nowMs - this.#atMs[first]!;
    if (tookMs <= 0) return;
    // Counts that are taken back make it less than nothing for a moment.
    this.now = Math.max(0, ((total - this.#totals[first]!) | 0) / tookMs) * 1000;
    // Less than a window is a burst: nobody could go on like that.
    if (isFull) this.best = Math.max(this.best, this.now);
  }
}
