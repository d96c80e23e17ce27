/** Virtual time: a clock that stands still and timers that fire when `advance` passes them. For tests and routing studies. */
import { Clock } from '../core/index.ts';
import type { SimTimers } from './options.ts';

interface Alarm {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class ManualTime {
  readonly clock: Clock;
  readonly timers: SimTimers;
  readonly #alarms = new Set<Alarm>();
  #nowMs = 0;
  #order = 0;

  constructor() {
    this.clock = new Clock(() => this.#nowMs);
    this.timers = {
      arm: (callback, delayMs) => {
        const alarm: Alarm = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
        this.#alarms.add(alarm);
        return () => this.#alarms.delete(alarm);
      },
    };
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Timers that have not fired. */
  get armedCount(): number {
    return this.#alarms.size;
  }

  /** Moves time forward and fires what becomes due, in order of time, then of arming. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let alarm = this.#first(untilMs); alarm !== null; alarm = this.#first(untilMs)) {
      this.#alarms.delete(alarm);
      this.#nowMs = Math.max(this.#nowMs, alarm.dueMs);
      alarm.callback();
    }
    this.#nowMs = untilMs;
  }

  /** Moves the clock and fires nothing: a process that was held up. The next `advance` fires what is overdue. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  /** Fires timers until none is armed; returns the time that took. Throws when that is more than `msMax`. */
  runUntilIdle(msMax = 3_600_000): number {
    const startMs = this.#nowMs;
    for (let alarm = this.#first(Infinity); alarm !== null; alarm = this.#first(Infinity)) {
      if (alarm.dueMs - startMs > msMax) throw new RangeError(`timers still armed after ${msMax} ms`);
      this.advance(Math.max(0, alarm.dueMs - this.#nowMs));
    }
    return this.#nowMs - startMs;
  }

  #first(untilMs: number): Alarm | null {
    let first: Alarm | null = null;
    for (const alarm of this.#alarms) {
      if (alarm.dueMs > untilMs) continue;
      if (first === null || alarm.dueMs < first.dueMs || (alarm.dueMs === first.dueMs && alarm.order < first.order)) {
        first = alarm;
      }
    }
    return first;
  }
}
