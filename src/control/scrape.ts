import type { Logger } from 'pino';
import type { Clock } from '../core/index.ts';
import type { FleetTable } from '../shm/index.ts';
import { hasEngineMetrics, parseEngineMetrics } from './engine-metrics.ts';
import type { EngineLoad, EngineName } from './engine-metrics.ts';
import { probeFailure } from './probe-client.ts';
import type { Probe, ProbeTarget } from './probe-client.ts';

/**
 * Reads the load of every endpoint whose engine tells it, and publishes it for the picker. Failing to is never an error
 * of the endpoint: readers see how old the last numbers are.
 *
 * The interval follows the load: 250 ms while anything waits or the numbers move, growing to 2 s when nothing changes; but
 * not where the numbers decide whether an endpoint is full (`queue.saturated_at`), because what comes at once to an idle
 * engine is all sent there until it is seen to wait.
 * All endpoints together are scraped at most 200 times a second, since parsing is control's own CPU time.
 */
export interface ScraperOptions {
  readonly fleet: FleetTable;
  readonly probe: Probe;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onLoad?: (target: ProbeTarget, load: EngineLoad) => void;
}

const intervalMinMs = 250;
const intervalMaxMs = 2000;
const intervalPerEndpointMs = 5;
/** After an answer that is not the metrics of a known engine. */
const recheckMs = 60_000;
const failureIntervalMaxMs = 10_000;
const timeoutMs = 1000;
const path = '/metrics';

export class Scraper {
  readonly #options: ScraperOptions;
  readonly #loops = new Map<number, ScrapeLoop>();

  constructor(options: ScraperOptions) {
    this.#options = options;
  }

  /** Scrapes exactly these from now on; those that stay go on undisturbed. */
  watch(targets: readonly ProbeTarget[]): void {
    const wanted = new Map(
      targets.filter(({ pool }) => hasEngineMetrics(pool.engine)).map((target) => [target.slot, target]),
    );
    for (const [slot, loop] of this.#loops) {
      const target = wanted.get(slot);
      if (target !== undefined && loop.isFor(target)) continue;
      loop.stop();
      this.#loops.delete(slot);
    }
    const floorMs = Math.max(intervalMinMs, wanted.size * intervalPerEndpointMs);
    for (const [slot, target] of wanted) {
      let loop = this.#loops.get(slot);
      if (loop === undefined) {
        loop = new ScrapeLoop(target, this.#options);
        this.#loops.set(slot, loop);
        loop.start();
      }
      loop.floorMs = floorMs;
    }
  }

  /** The engine whose metrics the endpoint was seen to write, or null. */
  engine(slot: number): EngineName | null {
    return this.#loops.get(slot)?.engine ?? null;
  }

  stop(): void {
    for (const loop of this.#loops.values()) loop.stop();
    this.#loops.clear();
  }
}

class ScrapeLoop {
  floorMs = intervalMinMs;
  readonly #target: ProbeTarget;
  readonly #options: ScraperOptions;
  readonly #settings: string;
  #last: EngineLoad | null = null;
  #intervalMs = intervalMinMs;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(target: ProbeTarget, options: ScraperOptions) {
    this.#target = target;
    this.#options = options;
    this.#settings = settingsOf(target);
  }

  get engine(): EngineName | null {
    return this.#last?.engine ?? null;
  }

  isFor(target: ProbeTarget): boolean {
    return settingsOf(target) === this.#settings;
  }

  start(): void {
    void this.#scrape();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #scrape(): Promise<void> {
    const waitMs = await this.#attempt();
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#scrape(), waitMs).unref();
  }

  /** The wait before the next one. */
  async #attempt(): Promise<number> {
    const { fleet, probe, clock, log } = this.#options;
    const { slot, pool, endpoint } = this.#target;
    // The numbers are as of when the engine wrote them: not later than now, not earlier than the question.
    const askedAtMs = clock.refresh();
    const inflight = fleet.inflight(slot);
    try {
      const { status, text } = await probe(this.#target, path, timeoutMs);
      if (this.#isStopped) return 0;
      const load = status === 200 ? parseEngineMetrics(text) : null;
      if (load === null) return recheckMs;
      if (this.#last === null) {
        log.info({ pool: pool.name, endpoint: endpoint.url, engine: load.engine }, 'endpoint reports its load');
      }
      fleet.publishScrape(slot, { ...load, scrapedAtMs: askedAtMs }, inflight);
      this.#options.onLoad?.(this.#target, load);
      const { waiting, kvUsage } = pool.queue.saturatedAt;
      const mayRest = waiting === 0 && kvUsage === 0 && isQuiet(load, this.#last);
      this.#intervalMs = mayRest ? Math.min(intervalMaxMs, this.#intervalMs * 2) : intervalMinMs;
      this.#last = load;
      return Math.max(this.floorMs, this.#intervalMs);
    } catch (error) {
      log.debug({ pool: pool.name, endpoint: endpoint.url, reason: probeFailure(error) }, 'metrics were not scraped');
      this.#intervalMs = Math.min(failureIntervalMaxMs, this.#intervalMs * 2);
      return Math.max(this.floorMs, this.#intervalMs);
    }
  }
}

/** KV usage moves a little with every token; a change below a hundredth is not worth a closer look. */
function isQuiet(load: EngineLoad, last: EngineLoad | null): boolean {
  return (
    last !== null &&
    load.queueDepth === 0 &&
    load.runningRequests === last.runningRequests &&
    Math.abs(load.kvCacheUsageRatio - last.kvCacheUsageRatio) < 0.01
  );
}

function settingsOf({ pool, endpoint }: ProbeTarget): string {
  return JSON.stringify([pool.engine, pool.tls, pool.credential, pool.dialect, pool.queue.saturatedAt, endpoint.url]);
}
