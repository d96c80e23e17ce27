import { getHeapStatistics } from 'node:v8';
import { counterCell, metrics } from '../account/index.ts';
import type { Config } from '../config/index.ts';
import { Priority, priorityNames } from '../exchange/index.ts';
import type { Admission, SeriesWriter } from '../shm/index.ts';

/**
 * Who is turned away when a shard cannot keep up, or memory runs short. Requests that run already are never touched.
 *
 * **Delay.** What counts is how long a request waits before it is looked at: the time the event loop takes to get through
 * what is ready. It is sampled twenty times a second. One long turn (a collection of garbage, a large body) is no
 * overload, so the *least* sample of a window decides, as in CoDel (RFC 8289): only a queue that never empties stays above
 * `limits.shed_delay_ms` for a whole window. While it does, `level` rises, and falls again when it does not:
 *
 *   level 0 ── 1: a growing share of low       1 ── 1.8: all of low, a growing share of normal       high: none
 *
 * A refusal is not free either: 10 us of CPU, where the smallest of requests costs 16. So the share ends at 80 % of normal:
 * clients that come back at once without heeding `retry-after` would otherwise leave time for nothing but refusals.
 *
 * **Memory.** The larger of the heap's use and the container's: at `limits.shed_memory_percent` low priority is
 * refused, normal from a third of what is left above it, high from two thirds. There is no share here: a heap that is full ends the
 * process and every stream in it.
 */
const windowMs = 500;
const samplesMin = 5;
/** Turns so long that five of them would take for ever. */
const longWindowMs = 1000;
/** While it sheds it corrects itself more often. */
const sheddingWindowMs = 250;
const sheddingSamplesMin = 3;
const memoryPeriodMs = 250;
/** What is let in shows, too, whether it is over. */
const levelMax = 1.8;
/** Levels a second: up, for each time `shed_delay_ms` the delay is, at most two; and down. */
const riseRate = 1;
const fallRate = 0.6;
/** In one window, however long its turns made it. */
const riseMax = 1;

export type ShedReason = 'event_loop' | 'memory' | 'requests_max';
const shedReasons: readonly ShedReason[] = ['event_loop', 'memory', 'requests_max'];

export interface ShedderOptions {
  readonly admission: Admission;
  readonly random: () => number;
  /** Of the heap of this thread, 0 to 100. Tests pass their own. */
  readonly heapPercent?: () => number;
}

export class Shedder {
  readonly #admission: Admission;
  readonly #random: () => number;
  readonly #heapPercent: () => number;
  /** By reason, then by priority. */
  readonly #cells: readonly (readonly number[])[];
  readonly #levelCell: number;
  readonly #series: SeriesWriter;
  #level = 0;
  /** Least priority that memory still admits. */
  #memoryFloor: number = Priority.low;
  #windowStartMs = -1;
  #sampleCount = 0;
  #leastMs = Number.POSITIVE_INFINITY;
  #memoryReadMs = Number.NEGATIVE_INFINITY;

  constructor(series: SeriesWriter, shardIndex: number, options: ShedderOptions) {
    this.#series = series;
    this.#admission = options.admission;
    this.#random = options.random;
    this.#heapPercent = options.heapPercent ?? heapPercent;
    this.#cells = shedReasons.map((reason) =>
      priorityNames.map((priority) => counterCell(series, metrics.shed, [reason, priority])),
    );
    this.#levelCell = counterCell(series, metrics.shedLevel, [String(shardIndex)]);
  }

  get level(): number {
    return this.#level;
  }

  /** Why a request of that priority is not let in, or null. Counts it. */
  refusal(priority: Priority, limits: Config['limits']): ShedReason | null {
    let reason: ShedReason;
    if (limits.requestsMax > 0 && this.#admission.requests() > limits.requestsMax) reason = 'requests_max';
    else if (priority < this.#memoryFloor) reason = 'memory';
    else if (this.#level > priority && this.#random() < this.#level - priority) reason = 'event_loop';
    else return null;
    this.#series.add(this.#cells[shedReasons.indexOf(reason)]![priority]!, 1);
    return reason;
  }

  /** So long had what was ready to wait. Called about twenty times a second. */
  noteDelay(delayMs: number, nowMs: number, limits: Config['limits']): void {
    if (nowMs - this.#memoryReadMs >= memoryPeriodMs) {
      this.#memoryReadMs = nowMs;
      this.#memoryFloor = memoryFloor(limits.shedMemoryPercent, this.#heapPercent(), this.#admission.memoryPercent());
    }
    if (this.#windowStartMs < 0) this.#windowStartMs = nowMs;
    this.#leastMs = Math.min(this.#leastMs, delayMs);
    this.#sampleCount++;
    const isShedding = this.#level > 0;
    const elapsedMs = nowMs - this.#windowStartMs;
    const isFew = this.#sampleCount < (isShedding || elapsedMs >= longWindowMs ? sheddingSamplesMin : samplesMin);
    if (isFew) return;
    if (elapsedMs < (isShedding ? sheddingWindowMs : windowMs)) return;
    this.#onWindow(elapsedMs / 1000, this.#leastMs, limits.shedDelayMs);
    this.#windowStartMs = nowMs;
    this.#leastMs = Number.POSITIVE_INFINITY;
    this.#sampleCount = 0;
  }

  #onWindow(seconds: number, leastMs: number, targetMs: number): void {
    if (targetMs === 0) {
      this.#level = 0;
    } else if (leastMs > targetMs) {
      const rise = Math.min(riseMax, riseRate * seconds * Math.min(2, leastMs / targetMs));
      this.#level = Math.min(levelMax, this.#level + rise);
    } else if (leastMs < targetMs / 2) {
      this.#level = Math.max(0, this.#level - fallRate * seconds);
    }
    this.#series.set(this.#levelCell, Math.round(this.#level * 100));
  }
}

/** The least priority let in when memory is that short; above high: nobody. */
export function memoryFloor(fromPercent: number, heap: number, container: number): number {
  const used = Math.max(heap, container);
  if (fromPercent === 0 || used < fromPercent) return Priority.low;
  const step = (100 - fromPercent) / 3;
  return Math.min(Priority.high, Math.floor((used - fromPercent) / step)) + 1;
}

function heapPercent(): number {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return (used / limit) * 100;
}
