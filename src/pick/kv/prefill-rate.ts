/**
 * Prompt tokens an endpoint computes a second, learned from how long first bytes take: about the 95th percentile of what was
 * seen, since every request that met something else in its way saw less. By endpoint URL; outlives a reload.
 */
const initialRate = 16_000;
const rateMin = 50;
const rateMax = 2_000_000;
const percentile = 0.95;
/** Of an endpoint that is well known; the first steps are longer, so that a dozen requests find what a hundred would. */
const stepMin = 0.05;
/** Short prompts are mostly answered with what they waited for besides. */
const tokensMin = 512;

export class PrefillRate {
  readonly #rates = new Map<string, number>();
  readonly #counts = new Map<string, number>();
  /** Mean of those known: an endpoint that nobody has met yet is as fast as the others, neither avoided nor sought. */
  #mean = initialRate;

  of(url: string): number {
    return this.#rates.get(url) ?? this.#mean;
  }

  /** `tokens`: what the endpoint had to compute before the first byte. */
  learn(url: string, tokens: number, ms: number): void {
    if (tokens < tokensMin || ms <= 0) return;
    const seen = Math.min(rateMax, Math.max(rateMin, (tokens / ms) * 1000));
    const known = this.#rates.get(url);
    const count = (this.#counts.get(url) ?? 0) + 1;
    this.#counts.set(url, count);
    const step = Math.max(stepMin, 1 / count);
    // The first says what it is about; from there the steps up and down balance at the percentile, and no step leads past what was seen.
    if (known === undefined) this.#rates.set(url, seen);
    else if (seen > known) this.#rates.set(url, Math.min(seen, known * (1 + step * percentile)));
    else this.#rates.set(url, Math.max(seen, known * (1 - step * (1 - percentile))));
    let sum = 0;
    for (const rate of this.#rates.values()) sum += rate;
    this.#mean = sum / this.#rates.size;
  }

  keep(urls: ReadonlySet<string>): void {
    for (const url of this.#rates.keys()) {
      if (urls.has(url)) continue;
      this.#rates.delete(url);
      this.#counts.delete(url);
    }
  }
}
