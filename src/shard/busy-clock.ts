/**
 * The time of one endpoint, divided among the requests it works for: as one shard sees it. Nobody sees inside an engine, so this
 * is an estimate, but one that adds up: all requests together are charged no more than went by.
 *
 *   prompt   while prompts wait for their first token the time is theirs, by their tokens; at most what each takes alone
 *   answer   the rest of the time is of those that are being answered, in equal parts; what they were charged while a prompt was
 *            computed is taken off when that is known
 *
 * Both parts are differences of a clock that runs the slower the more there are to share: what somebody is charged is how far it
 * went meanwhile. That takes one look at the endpoint's counts a few times a second, and nothing for each token.
 */

/** What cannot be taken off answers by then is forgotten. */
const debtMsMax = 10_000;
/** Two looks at the counts are not closer than this while a stream goes on. */
const lookMs = 5;

/** The endpoint now, over all shards, and over gateways that share. */
export interface EndpointCounts {
  /** Requests there. */
  readonly inflight: number;
  /** Prompt tokens that wait for a first token. */
  readonly pendingTokens: number;
  /** Microseconds charged for prompts so far; wraps. */
  readonly promptMicros: number;
}

export class BusyClock {
  #atMs = 0;
  #seenMicros = 0;
  /** Time in which prompts waited while others were answered; and the part of it that was the prompts', to be taken off answers. */
  #overlapMs = 0;
  #debtMs = 0;
  #tokenMs = 0;
  #answerMs = 0;
  /** Requests of this shard, and those of them that are being answered. */
  #count = 0;
  #answering = 0;

  /** Requests of this shard that its endpoint works for. */
  get count(): number {
    return this.#count;
  }

  /** Milliseconds that a token of a waiting prompt has had. */
  get tokenMs(): number {
    return this.#tokenMs;
  }

  /** Milliseconds that an answer has had. */
  get answerMs(): number {
    return this.#answerMs;
  }

  /** @hot per chunk. Whether it is worth while to `advance`. */
  isDue(nowMs: number): boolean {
    return nowMs - this.#atMs >= lookMs;
  }

  /** @hot per chunk. Before a request of this shard comes, goes, or gets its first token; `counts` are still as they were. */
  advance(nowMs: number, { inflight, pendingTokens, promptMicros }: EndpointCounts): void {
    const passedMs = nowMs - this.#atMs;
    this.#atMs = nowMs;
    const chargedMs = ((promptMicros - this.#seenMicros) | 0) / 1000;
    this.#seenMicros = promptMicros;
    if (this.#count === 0) {
      this.#overlapMs = this.#debtMs = 0; // Nobody here was charged for that time.
      return;
    }
    const twiceMs = Math.min(chargedMs, this.#overlapMs);
    this.#debtMs = Math.min(debtMsMax, this.#debtMs + twiceMs);
    this.#overlapMs = pendingTokens > 0 ? this.#overlapMs - twiceMs : 0;
    if (passedMs <= 0) return;
    if (pendingTokens > 0) this.#tokenMs += passedMs / pendingTokens;
    if (this.#answering === 0) return;
    const repaidMs = Math.min(this.#debtMs, passedMs);
    this.#debtMs -= repaidMs;
    if (pendingTokens > 0) this.#overlapMs += passedMs;
    // Of those elsewhere as many are being answered as of those here.
    const sharing = Math.max(this.#answering, (inflight * this.#answering) / this.#count);
    this.#answerMs += (passedMs - repaidMs) / sharing;
  }

  begin(): void {
    this.#count++;
  }

  beginAnswer(): void {
    this.#answering++;
  }

  end(isAnswering: boolean): void {
    this.#count--;
    if (isAnswering) this.#answering--;
  }
}
