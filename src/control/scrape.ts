import type { Logger } from 'pino';
import type { Clock } from '../core/index.ts';
import type { FleetTable } from '../shm/index.ts';
import { parseEngineMetrics } from './engine-metrics.ts';
import type { EngineLoad } from './engine-metrics.ts';
import { hasEngineMetrics, metricsPaths } from './engine-names.ts';
import type { EngineName } from './engine-names.ts';
import { HitWindow } from './hit-window.ts';
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
/** After an answer that is not the metrics of a known engine, of an endpoint that never gave others. */
const recheckMs = 60_000;
const failureIntervalMaxMs = 10_000;
const timeoutMs = 1000;

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

  /** What it said last, or null. */
  load(slot: number): EngineLoad | null {
    return this.#loops.get(slot)?.last ?? null;
  }

  /** The share of prompt tokens that it had in its prefix cache of late, by its own count; null where that is not known. */
  hitRatio(slot: number): number | null {
    return this.#loops.get(slot)?.hits.ratio ?? null;
  }

  stop(): void {
    for (const loop of this.#loops.values()) loop.stop();
    this.#loops.clear();
  }
}

class ScrapeLoop {
  floorMs = intervalMinMs;
  readonly hits = new HitWindow();
  readonly #target: ProbeTarget;
  readonly #options: ScraperOptions;
  readonly #settings: string;
  /** Where its metrics may be; the first is where they were last. */
  #paths: readonly string[];
  #last: EngineLoad | null = null;
  #intervalMs = intervalMinMs;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(target: ProbeTarget, options: ScraperOptions) {
    this.#target = target;
    this.#options = options;
    this.#settings = settingsOf(target);
    const { engine, metrics } = target.pool;
    this.#paths = metrics.path === null ? metricsPaths(engine) : [metrics.path];
  }

  get last(): EngineLoad | null {
    return this.#last;
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
    const { fleet, clock, log } = this.#options;
    const { slot, pool, endpoint } = this.#target;
    // The numbers are as of when the engine wrote them: not later than now, not earlier than the question.
    const askedAtMs = clock.refresh();
    const inflight = fleet.inflight(slot);
    try {
      const load = await this.#ask();
      if (this.#isStopped) return 0;
      // One that has told its load before is down, or being started behind a proxy that answers for it.
      if (load === null) return this.#last === null ? recheckMs : this.#failed('no metrics');
      if (this.#last === null) {
        log.info({ pool: pool.name, endpoint: endpoint.url, engine: load.engine }, 'endpoint reports its load');
      }
      fleet.publishScrape(slot, { ...load, scrapedAtMs: askedAtMs }, inflight);
      this.hits.note(askedAtMs, load.prefixTokens, load.prefixHitTokens);
      this.#options.onLoad?.(this.#target, load);
      const { waiting, kvUsage } = pool.queue.saturatedAt;
      const mayRest = waiting === 0 && kvUsage === 0 && isQuiet(load, this.#last);
      this.#intervalMs = mayRest ? Math.min(intervalMaxMs, this.#intervalMs * 2) : intervalMinMs;
      this.#last = load;
      return Math.max(this.floorMs, this.#intervalMs);
    } catch (error) {
      return this.#failed(probeFailure(error));
    }
  }

  #failed(reason: string): number {
    const { pool, endpoint } = this.#target;
    this.#options.log.debug({ pool: pool.name, endpoint: endpoint.url, reason }, 'metrics were not scraped');
    this.#intervalMs = Math.min(failureIntervalMaxMs, this.#intervalMs * 2);
    return Math.max(this.floorMs, this.#intervalMs);
  }

  /** Null when none of its paths has the metrics of a known engine. */
  async #ask(): Promise<EngineLoad | null> {
    for (const path of this.#paths) {
      const { status, text } = await this.#options.probe(metricsTarget(this.#target), path, timeoutMs);
      if (this.#isStopped) return null;
      const load = status === 200 ? parseEngineMetrics(text) : null;
      if (load === null) continue;
      this.#paths = [path, ...this.#paths.filter((other) => other !== path)];
      return load;
    }
    return null;
  }
}

/** Triton has its metrics on a port of their own, 8002. */
function metricsTarget(target: ProbeTarget): ProbeTarget {
  const { pool, endpoint } = target;
  const { port } = pool.metrics;
  if (port === 0) return target;
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return { ...target, endpoint: { ...endpoint, url: `${endpoint.tls ? 'https' : 'http'}://${host}:${port}` } };
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
  return JSON.stringify([
    pool.engine,
    pool.metrics,
    pool.tls,
    pool.credential,
    pool.dialect,
    pool.queue.saturatedAt,
    endpoint.url,
  ]);
}
