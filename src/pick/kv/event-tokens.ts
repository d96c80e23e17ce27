/**
 * How many tokens engines put into one event of a stream: one, mostly, and more where they write several at once. Learned from streams
 * that report their usage, by endpoint URL; outlives a reload.
 */
const alpha = 0.1;
/** Of fewer tokens the first and the last events, which have none, are too large a part. */
const tokensMin = 16;
/** Beyond these it is no engine's doing: a report that is wrong, a stream that something in between put together anew. */
const perEventMax = 64;
const perEventMin = 0.1;

export class EventTokens {
  readonly #perEvent = new Map<string, number>();

  /** 1 before anything was seen. */
  of(url: string): number {
    return this.#perEvent.get(url) ?? 1;
  }

  learn(url: string, tokens: number, events: number): void {
    if (tokens < tokensMin || events === 0) return;
    const seen = Math.min(perEventMax, Math.max(perEventMin, tokens / events));
    const known = this.#perEvent.get(url) ?? seen;
    this.#perEvent.set(url, known + alpha * (seen - known));
  }

  keep(urls: ReadonlySet<string>): void {
    for (const url of this.#perEvent.keys()) if (!urls.has(url)) this.#perEvent.delete(url);
  }
}
