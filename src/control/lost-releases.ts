import type { Logger } from 'pino';
import type { SharedCounts } from '../shm/index.ts';

/**
 * Gives back what was never given back: a release that a running shard lost, by a defect, in a total that all shards share
 * (what a shard held that died, `reclaimShard` gives back). Without it an endpoint would count an exchange that is long over
 * until the process ends, and a full one would stay full.
 *
 * A total and the rows beside it are never changed in one step, so one look proves nothing: what counts is the smallest
 * difference in all looks of a window, which nothing that was only under way can be.
 */
const lookPeriodMs = 500;
const looksPerWindow = 20;

interface Ledger {
  readonly counts: SharedCounts;
  readonly now: Int32Array;
  readonly low: Int32Array;
  readonly high: Int32Array;
}

export class LostReleases {
  readonly #ledgers: readonly Ledger[];
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #looks = 0;
  #recoveredCount = 0;

  constructor(counts: readonly SharedCounts[], log: Logger) {
    this.#ledgers = counts.map((each) => ({
      counts: each,
      now: new Int32Array(each.countCount),
      low: new Int32Array(each.countCount),
      high: new Int32Array(each.countCount),
    }));
    this.#log = log;
    this.#timer = setInterval(() => this.look(), lookPeriodMs).unref();
  }

  /** Totals that had to be corrected since the start. */
  get recoveredCount(): number {
    return this.#recoveredCount;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The timer's work. */
  look(): void {
    const isFirst = this.#looks === 0;
    this.#looks = (this.#looks + 1) % looksPerWindow;
    for (const ledger of this.#ledgers) {
      const { now, low, high } = ledger;
      ledger.counts.readSurplus(now);
      for (let index = 0; index < now.length; index++) {
        const surplus = now[index]!;
        if (isFirst || surplus < low[index]!) low[index] = surplus;
        if (isFirst || surplus > high[index]!) high[index] = surplus;
      }
      if (this.#looks === 0) this.#correct(ledger);
    }
  }

  #correct({ counts, low, high }: Ledger): void {
    for (let index = 0; index < low.length; index++) {
      const surplus = low[index]! > 0 ? low[index]! : Math.min(high[index]!, 0);
      if (surplus === 0) continue;
      counts.takeOff(index, surplus);
      this.#recoveredCount++;
      this.#log.error({ ...counts.describeCount(index), surplus }, 'a shared count was off and has been corrected');
    }
  }
}
