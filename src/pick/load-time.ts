/**
 * Seconds that a model takes into an engine's memory, learned from first bytes that came later than the prompt alone explains, of
 * requests sent where it was not. About the median of what was seen: a step up or down each time, so that one request that
 * waited for something else besides, or found the model there after all, moves it by a twentieth. What it converges to is what
 * sending a request to such an endpoint costs, mistakes about what is in memory included: that is what it is used for.
 */
const step = 0.05;

export class LoadTime {
  #seconds: number;
  readonly #min: number;
  readonly #max: number;

  constructor(seconds: number, min: number, max: number) {
    this.#seconds = seconds;
    this.#min = min;
    this.#max = max;
  }

  get seconds(): number {
    return this.#seconds;
  }

  learn(seconds: number): void {
    const next = this.#seconds * (seconds > this.#seconds ? 1 + step : 1 - step);
    this.#seconds = Math.min(this.#max, Math.max(this.#min, next));
  }
}

const holdAlpha = 0.05;
const holdSecondsMax = 60;

/** What a pool's shard has learned of loading; outlives a reload. */
export class LoadTimes {
  /** A LoRA adapter: 0.3 to 1 s from a local disk, less from the host's memory. */
  readonly adapter = new LoadTime(0.5, 0.1, 5);
  /** A whole model, of a server that swaps them. */
  readonly model = new LoadTime(10, 0.5, 120);
  /** How long a request keeps its adapter in its place: the mean time of their answers. */
  holdSeconds = 1;

  noteHold(seconds: number): void {
    this.holdSeconds += holdAlpha * (Math.min(holdSecondsMax, Math.max(0, seconds)) - this.holdSeconds);
  }
}
