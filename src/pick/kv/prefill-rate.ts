/**
 * Prompt tokens an endpoint computes a second, learned from how long first bytes take: about the 95th percentile of what was
 * seen, since every request that met something else in its way saw less. By endpoint URL; outlives a reload.
 */
const initialRate = 8000;
const rateMin = 50;
const rateMax = 2_000_000;
const percentile = 0.95;
const step = 0.05;
/** Short prompts are mostly answered with what they waited for besides. */
const tokensMin = 512;

export class PrefillRate {
  readonly #rates = new Map<string, number>();
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
    // The first says what it is about; from there the steps up and down balance at the percentile.
    if (known === undefined) this.#rates.set(url, seen);
    else this.#rates.set(url, known * (seen > known ? 1 + step * percentile : 1 - step * (1 - percentile)));
    let sum = 0;
    for (const rate of this.#rates.values()) sum += rate;
    this.#mean = sum / this.#rates.size;
  }

  keep(urls: ReadonlySet<string>): void {
    for (const url of this.#rates.keys()) if (!urls.has(url)) this.#rates.delete(url);
  }
}
