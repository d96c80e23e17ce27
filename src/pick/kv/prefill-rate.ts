/** What is assumed of a pool of which nothing is known. */
const initialRate = 16_000;
const rateMin = 50;
const rateMax = 2_000_000;
const percentile = 0.95;
/** An endpoint that was met so often is judged by itself alone. */
const ownCount = 8;
const ownSampleCount = 32;
const poolSampleCount = 64;
/** Short prompts are mostly answered with what they waited for besides. */
const tokensMin = 512;

/** The last so many samples, and what 95 of 100 of them do not exceed. */
class Samples {
  readonly #ring: Float64Array;
  readonly #sorted: Float64Array;
  count = 0;
  high = 0;

  constructor(size: number) {
    this.#ring = new Float64Array(size);
    this.#sorted = new Float64Array(size);
  }

  add(sample: number): void {
    const size = this.#ring.length;
    this.#ring[this.count++ % size] = sample;
    const filled = Math.min(this.count, size);
    const sorted = this.#sorted.subarray(0, filled);
    sorted.set(this.#ring.subarray(0, filled));
    sorted.sort();
    const at = (filled - 1) * percentile;
    const below = sorted[Math.floor(at)]!;
    this.high = below + (sorted[Math.ceil(at)]! - below) * (at % 1);
  }
}

/**
 * Prompt tokens an endpoint computes a second, learned from how long first bytes take: the 95th percentile of what was seen of late,
 * since every request that met something else in its way saw less. Few samples may all have met something, so an endpoint that
 * was met less than eight times is in part, and one nobody has met wholly, what the pool's others are. By endpoint URL; outlives a
 * reload.
 */
export class PrefillRate {
  readonly #own = new Map<string, Samples>();
  readonly #pool = new Samples(poolSampleCount);

  of(url: string): number {
    const pool = this.#pool.count === 0 ? initialRate : this.#pool.high;
    const own = this.#own.get(url);
    if (own === undefined) return pool;
    const weight = Math.min(1, own.count / ownCount);
    return weight * own.high + (1 - weight) * pool;
  }

  /** `tokens`: what the endpoint had to compute before the first byte. */
  learn(url: string, tokens: number, ms: number): void {
    if (tokens < tokensMin || ms <= 0) return;
    const seen = Math.min(rateMax, Math.max(rateMin, (tokens / ms) * 1000));
    let own = this.#own.get(url);
    if (own === undefined) this.#own.set(url, (own = new Samples(ownSampleCount)));
    own.add(seen);
    this.#pool.add(seen);
  }

  keep(urls: ReadonlySet<string>): void {
    for (const url of this.#own.keys()) if (!urls.has(url)) this.#own.delete(url);
  }
}
