/**
 * The one time base: milliseconds since boot, monotonic, the same in every thread of the process.
 *
 * `performance.now()` counts from each thread's own start, so two threads could not compare readings; the offset to the
 * process-wide `hrtime` is a constant (both read CLOCK_MONOTONIC) and is measured once.
 */
const [bootSeconds, bootNanos] = process.hrtime();
const offsetMs = bootSeconds * 1000 + bootNanos / 1e6 - performance.now();

export class Clock {
  /** The reading of the last `refresh`: exact at the start of an event-loop turn, stale by at most that turn. */
  nowMs: number;
  readonly #read: () => number;

  /** `read` returns milliseconds; tests pass their own. */
  constructor(read: () => number = () => offsetMs + performance.now()) {
    this.#read = read;
    this.nowMs = read();
  }

  /** @hot per chunk (51 ns). Returns the new reading. */
  refresh(): number {
    return (this.nowMs = this.#read());
  }
}
