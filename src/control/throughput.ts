import type { Clock } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { type FleetTable, type SharedMemory, WorkTable, workWindowMs } from '../shm/index.ts';

/** Tokens a second of one kind at one endpoint. */
export interface Rate {
  /** Over the last window. */
  readonly now: number;
  /** What it could still take: the best it was seen to do, less what it does; null before anything was seen. */
  readonly headroom: number | null;
}

export interface EndpointRates {
  readonly prompt: Rate;
  readonly completion: Rate;
}

export const samplePeriodMs = 2000;
const sampleCount = workWindowMs / samplePeriodMs + 1;
/** What was possible yesterday may have been another model. */
const halfLifeMs = 3_600_000;

/** One kind of token at one endpoint: totals at the last samples, and the best rate between two a window apart. */
class Gauge {
  readonly #totals = new Int32Array(sampleCount);
  readonly #atMs = new Float64Array(sampleCount);
  #count = 0;
  best = 0;
  now = 0;

  /** `total` wraps. */
  sample(total: number, nowMs: number): void {
    const last = (this.#count + sampleCount - 1) % sampleCount;
    if (this.#count > 0) this.best *= 0.5 ** ((nowMs - this.#atMs[last]!) / halfLifeMs);
    const at = this.#count % sampleCount;
    const isFull = this.#count >= sampleCount - 1;
    const first = isFull ? (at + 1) % sampleCount : 0; // A window ago.
    this.#totals[at] = total;
    this.#atMs[at] = nowMs;
    this.#count++;
    const tookMs = nowMs - this.#atMs[first]!;
    if (tookMs <= 0) return;
    // Counts that are taken back make it less than nothing for a moment.
    this.now = Math.max(0, ((total - this.#totals[first]!) | 0) / tookMs) * 1000;
    // Less than a window is a burst: nobody could go on like that.
    if (isFull) this.best = Math.max(this.best, this.now);
  }
}

interface Watched {
  readonly url: string;
  readonly prompt: Gauge;
  readonly completion: Gauge;
}

/**
 * What endpoints get done, and could still take, by what shards counted in the work table: a sample every two seconds, rates over
 * ten. An endpoint that was never busy has a best that says little: it is what was asked of it.
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
      for (const [index, { url }] of pool.endpoints.entries()) {
        const slot = endpointSlots[poolIndex]![index]!;
        let watched = this.#watched.get(slot);
        if (watched?.url !== url) {
          watched = { url, prompt: new Gauge(), completion: new Gauge() };
          this.#watched.set(slot, watched);
        }
        watched.prompt.sample(this.#work.promptTokens(slot), nowMs);
        watched.completion.sample(this.#work.completionTokens(slot), nowMs);
      }
    }
  }

  of(slot: number): EndpointRates {
    const watched = this.#watched.get(slot);
    if (watched === undefined) return { prompt: { now: 0, headroom: null }, completion: { now: 0, headroom: null } };
    const { prompt, completion } = watched;
    // A long prompt shows when it is done. While it is computed, what waits is what the endpoint is busy with.
    const waiting = (this.#fleet.pendingTokens(slot) / workWindowMs) * 1000;
    return { prompt: rateOf(prompt, waiting), completion: rateOf(completion, 0) };
  }
}

function rateOf({ now, best }: Gauge, waiting: number): Rate {
  if (best === 0) return { now: tenths(now), headroom: null };
  return { now: tenths(now), headroom: tenths(Math.max(0, best - Math.max(now, waiting))) };
}

function tenths(rate: number): number {
  return Math.round(rate * 10) / 10;
}
