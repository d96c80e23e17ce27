/** How long a request or a retry counts, in two halves. */
const halfWindowMs = 5000;

export interface RetryBudgetRule {
  /** Retries for a hundred requests. */
  readonly percent: number;
  /** Retries allowed however few requests there were. */
  readonly countMin: number;
}

/**
 * Keeps the retries of one pool on one shard from becoming a storm: of the requests of the last 5 to 10 seconds only a share
 * may be sent again. An endpoint that dies is bridged by it; a pool that is overloaded is not given more to do.
 */
export class RetryBudget {
  rule: RetryBudgetRule;
  #startMs = 0;
  #requests = 0;
  #retries = 0;
  #earlierRequests = 0;
  #earlierRetries = 0;

  constructor(rule: RetryBudgetRule) {
    this.rule = rule;
  }

  /** A request came to the pool. */
  noteRequest(nowMs: number): void {
    this.#roll(nowMs);
    this.#requests++;
  }

  /** Takes one retry; false when there is none left. */
  tryTake(nowMs: number): boolean {
    this.#roll(nowMs);
    const allowed = ((this.#requests + this.#earlierRequests) * this.rule.percent) / 100;
    if (this.#retries + this.#earlierRetries >= Math.max(this.rule.countMin, allowed)) return false;
    this.#retries++;
    return true;
  }

  #roll(nowMs: number): void {
    const pastMs = nowMs - this.#startMs;
    if (pastMs < halfWindowMs) return;
    const isRecent = pastMs < 2 * halfWindowMs;
    this.#earlierRequests = isRecent ? this.#requests : 0;
    this.#earlierRetries = isRecent ? this.#retries : 0;
    this.#requests = 0;
    this.#retries = 0;
    this.#startMs = nowMs;
  }
}
