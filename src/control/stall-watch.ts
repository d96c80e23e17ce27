import type { Logger } from 'pino';

/**
 * Finds shards whose event loop stands still: an endless regular expression, a filter that loops, a page of memory that
 * does not come. Such a thread accepts connections (the kernel does) and answers none.
 *
 *   beats ──silent for 1 s──▶ silent (told, not ready) ──silent for `runtime.shard_stall_ms`──▶ given up
 *     ▲                          │
 *     └────────── beats ─────────┘
 *
 * What counts is time in which control itself ran: after a SIGSTOP, or on a machine that was asleep, all threads were
 * still together, and none is to blame.
 */
export interface StallWatchOptions {
  readonly shardCount: number;
  /** 0 is never. */
  readonly stallMs: number;
  readonly log: Logger;
  /** Changes as long as the shard's event loop turns. */
  readonly readBeat: (shardIndex: number) => number;
  /** Whether the shard should beat now; one that loads or ends does not. */
  readonly isWatched: (shardIndex: number) => boolean;
  /** Called once. */
  readonly onGivenUp: (shardIndex: number) => void;
  readonly nowMs?: () => number;
}

export const watchPeriodMs = 250;
const silentAfterMs = 1000;

interface Place {
  beat: number;
  silentMs: number;
  isTold: boolean;
}

export class StallWatch {
  readonly #options: StallWatchOptions;
  readonly #places: Place[];
  readonly #nowMs: () => number;
  #lastMs: number;
  #timer: NodeJS.Timeout | null = null;
  #isGivenUp = false;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? ((): number => performance.now());
    this.#lastMs = this.#nowMs();
    this.#places = Array.from({ length: options.shardCount }, () => ({ beat: 0, silentMs: 0, isTold: false }));
  }

  start(): void {
    this.#lastMs = this.#nowMs();
    this.#timer = setInterval(() => this.look(), watchPeriodMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Shards that have been silent too long to count as ready. */
  silentShards(): number[] {
    return this.#places.flatMap(({ isTold }, index) => (isTold ? [index] : []));
  }

  look(): void {
    const { readBeat, isWatched, log, stallMs, onGivenUp } = this.#options;
    const nowMs = this.#nowMs();
    const elapsedMs = Math.min(nowMs - this.#lastMs, 2 * watchPeriodMs);
    this.#lastMs = nowMs;
    for (const [shard, place] of this.#places.entries()) {
      const beat = readBeat(shard);
      if (beat !== place.beat || !isWatched(shard)) {
        if (place.isTold) log.warn({ shard, silent_ms: Math.round(place.silentMs) }, 'shard responds again');
        place.beat = beat;
        place.silentMs = 0;
        place.isTold = false;
        continue;
      }
      place.silentMs += elapsedMs;
      if (place.silentMs >= silentAfterMs && !place.isTold) {
        place.isTold = true;
        log.error({ shard, silent_ms: Math.round(place.silentMs) }, 'shard does not respond');
      }
      if (stallMs === 0 || place.silentMs < stallMs || this.#isGivenUp) continue;
      this.#isGivenUp = true;
      onGivenUp(shard);
    }
  }
}
