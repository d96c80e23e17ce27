import type { EndpointScrape, FleetTable } from '../shm/index.ts';

/** When an endpoint counts as full by what its engine says of itself; 0 = by nothing. */
export interface SaturationRule {
  /** Requests waiting in the engine. */
  readonly waitingMax: number;
  /** Share of its KV cache in use. */
  readonly kvUsageMax: number;
}

/** Older numbers say nothing: the endpoint is then judged by our own counts. Twenty scrapes were missed, where numbers decide. */
const staleMs = 5000;

/**
 * Whether an engine has as much as it should, by its last scrape and by what all shards have sent there, and have had back,
 * since: between two scrapes, 0.25 s or more, a queue in front of it would otherwise empty itself into it.
 *
 *   waiting now   = running + waiting + since - capacity     capacity: as many as ran when some had to wait
 *   KV usage now  = usage * (running + waiting + since) / (running + waiting)     as if the new ones were like the others
 *
 * Before any request had to wait its capacity is unknown: then what was sent since is taken to run.
 */
export class Saturation {
  readonly #fleet: FleetTable;
  readonly #rule: SaturationRule;
  readonly #isOn: boolean;
  readonly #scrape: EndpointScrape = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };

  constructor(fleet: FleetTable, rule: SaturationRule) {
    this.#fleet = fleet;
    this.#rule = rule;
    this.#isOn = rule.waitingMax > 0 || rule.kvUsageMax > 0;
  }

  /** @hot per attempt and endpoint. */
  isReached(slot: number, nowMs: number): boolean {
    if (!this.#isOn) return false;
    const fleet = this.#fleet;
    const scrape = this.#scrape;
    if (!fleet.readScrape(slot, scrape) || nowMs - scrape.scrapedAtMs > staleMs) return false;
    const { waitingMax, kvUsageMax } = this.#rule;
    const then = scrape.runningRequests + scrape.queueDepth;
    const now = then + fleet.inflightSinceScrape(slot);
    const capacity = fleet.capacity(slot);
    const waiting = capacity === 0 ? scrape.queueDepth : now - capacity;
    if (waitingMax > 0 && waiting >= waitingMax) return true;
    const growth = then === 0 ? 1 : Math.max(1, now / then);
    return kvUsageMax > 0 && scrape.kvCacheUsageRatio * growth >= kvUsageMax;
  }
}
