import type { PrefixIndex } from './prefix-index.ts';

/** Longer than any thread writes a slot: its writer has died, or sleeps and will do no harm when it wakes. */
const writingMsMax = 1000;

/** Goes round the table a piece at a time: clears what is held no more, and slots whose writer died. One thread's work. */
export class PrefixSweeper {
  readonly #index: PrefixIndex;
  readonly #busySinceMs = new Map<number, number>();
  #next = 0;

  constructor(index: PrefixIndex) {
    this.#index = index;
  }

  /** Looks at the next `slotCount` slots; a million take about 22 ms in all. */
  sweep(slotCount: number, nowMs: number): void {
    const index = this.#index;
    for (let count = Math.min(slotCount, index.slotCount); count > 0; count--) {
      const slot = this.#next;
      this.#next = slot + 1 === index.slotCount ? 0 : slot + 1;
      if (!index.tidy(slot)) {
        if (this.#busySinceMs.size > 0) this.#busySinceMs.delete(slot);
        continue;
      }
      const sinceMs = this.#busySinceMs.get(slot);
      if (sinceMs === undefined) this.#busySinceMs.set(slot, nowMs);
      else if (nowMs - sinceMs > writingMsMax) {
        index.free(slot);
        this.#busySinceMs.delete(slot);
      }
    }
  }
}
