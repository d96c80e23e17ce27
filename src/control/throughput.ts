import { type Clock, RateGauge } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { type FleetTable, type SharedMemory, WorkTable, workWindowMs, writeRateAssumed } from '../shm/index.ts';

/** Tokens a second of one kind at one endpoint. */
export interface Rate {
  /** Over the last window. */
  readonly now: number;
  /**
   * What it could still take: as much as it may do, or else the best that it or one like it was seen to do, less what it does; null
   * before anything was seen.
   */
  readonly headroom: number | null;
}

export interface EndpointRates {
  readonly prompt: Rate;
  readonly completion: Rate;
}

export const samplePeriodMs = 2000;
const windowCount = workWindowMs / samplePeriodMs;
/** With fewer requests in the mean over a window, what each got is left to chance. */
const paceInflightMin = 0.5;

/** The best of endpoints that are alike, for a weight of 1. */
interface Best {
  prompt: number;
  completion: number;
}

interface Watched {
  readonly url: string;
  /** Requests that it had at each of the last samples. */
  readonly inflight: number[];
  /** Completion tokens a second for each of them. */
  pace: number;
  /** Completion tokens a second that it may write by its pool's settings; 0 = however many. */
  completionMax: number;
  readonly prompt: RateGauge;
  readonly completion: RateGauge;
  /** Of this sample. */
  weight: number;
  best: Best;
}

/**
 * What endpoints get done, and could still take, by what shards counted in the work table: a sample every two seconds, rates over
 * ten. The best of one that was never busy is only what was asked of it, so what counts is the best of all that are alike: those of
 * the pool with the same sku, each by its weight. Shards read from the work table which part of that is used, what is left, and
 * how much of it each request has.
 */
export class Throughput {
  readonly #fleet: FleetTable;
  readonly #work: WorkTable;
  readonly #clock: Clock;
  readonly #snapshot: () => Snapshot;
  /** By slot. */
  readonly #watched = new Map<number, Watched>();
  readonly #timer: NodeJS.Timeout;

  constructor(memory: SharedMemory, fleet: FleetTable, clock: Clock, snapshot: () => Snapshot) {
    this.#fleet = fleet;
    this.#work = new WorkTable(memory, -1);
    this.#clock = clock;
    this.#snapshot = snapshot;
    this.#timer = setInterval(() => this.sample(), samplePeriodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Called by its timer. */
  sample(): void {
    const { config, endpointSlots } = this.#snapshot();
    const nowMs = this.#clock.refresh();
    const slots = new Set(endpointSlots.flat());
    for (const slot of this.#watched.keys()) if (!slots.has(slot)) this.#watched.delete(slot);
    for (const [poolIndex, pool] of config.pools.entries()) {
      /** By sku. */
      const bests = new Map<string | null, Best>();
      for (const [index, { url, sku, weight }] of pool.endpoints.entries()) {
        let best = bests.get(sku);
        if (best === undefined) bests.set(sku, (best = { prompt: 0, completion: 0 }));
        const slot = endpointSlots[poolIndex]![index]!;
        let watched = this.#watched.get(slot);
        if (watched?.url !== url) {
          watched = {
            url,
            prompt: new RateGauge(windowCount),
            completion: new RateGauge(windowCount),
            inflight: [],
            pace: 0,
            completionMax: 0,
            weight,
            best,
          };
          this.#watched.set(slot, watched);
        }
        watched.prompt.sample(this.#work.promptTokens(slot), nowMs);
        watched.completion.sample(this.#work.completionTokens(slot), nowMs);
        watched.weight = weight;
        watched.best = best;
        watched.completionMax = pool.completionRateMax * weight;
        watched.inflight.push(this.#fleet.inflight(slot));
        if (watched.inflight.length > windowCount) watched.inflight.shift();
        // Of one that gets nothing by its weight nobody knows what it could do.
        if (weight === 0) continue;
        best.prompt = Math.max(best.prompt, watched.prompt.best / weight);
        best.completion = Math.max(best.completion, watched.completion.best / weight);
      }
    }
    for (const [slot, watched] of this.#watched) this.#tell(slot, watched);
  }

  #tell(slot: number, watched: Watched): void {
    const { completion, weight, best, inflight, completionMax } = watched;
    // One stream on an idle fleet would be all that was ever seen.
    const seen = Math.max(writeRateAssumed, best.completion) * weight;
    const possible = completionMax > 0 ? completionMax : seen;
    const usedRatio = possible === 0 ? 0 : Math.min(1, completion.now / possible);
    const mean = inflight.reduce((sum, count) => sum + count, 0) / inflight.length;
    // Of an endpoint without requests the pace is what it was.
    if (mean >= paceInflightMin) watched.pace = completion.now / mean;
    const headroom = this.of(slot).completion.headroom ?? -1;
    this.#work.setWriteRates(slot, { usedRatio, headroom, pace: watched.pace });
  }

  of(slot: number): EndpointRates {
    const watched = this.#watched.get(slot);
    if (watched === undefined) return { prompt: { now: 0, headroom: null }, completion: { now: 0, headroom: null } };
    const { prompt, completion, weight, best, completionMax } = watched;
    // A long prompt shows when it is done. While it is computed, what waits is what the endpoint is busy with.
    const waiting = (this.#fleet.pendingTokens(slot) / workWindowMs) * 1000;
    return {
      prompt: rateOf(prompt.now, best.prompt * weight, waiting),
      completion: rateOf(completion.now, completionMax > 0 ? completionMax : best.completion * weight, 0),
    };
  }
}

function rateOf(now: number, best: number, waiting: number): Rate {
  if (best === 0) return { now: tenths(now), headroom: null };
  return { now: tenths(now), headroom: tenths(Math.max(0, best - Math.max(now, waiting))) };
}

function tenths(rate: number): number {
  return Math.round(rate * 10) / 10;
}
