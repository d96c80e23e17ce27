import type { PoolView } from './pool-view.ts';

/**
 * Candidates that take part in one choice: one that is warming up in so many of them as its share says. For pickers that
 * would give an endpoint everything at once because it has nothing yet.
 */
export class Participants {
  readonly #random: () => number;
  /** The first `count` are valid. */
  list = new Int32Array(0);
  count = 0;

  /** `random`: [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** @hot per pick. At least one, since the view has one. */
  draw({ candidates, count, shares }: PoolView): void {
    if (this.list.length < candidates.length) this.list = new Int32Array(candidates.length);
    this.count = 0;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      const share = shares[index]!;
      if (share >= 1 || this.#random() < share) this.list[this.count++] = index;
    }
    if (this.count > 0) return;
    for (let turn = 0; turn < count; turn++) this.list[turn] = candidates[turn]!;
    this.count = count;
  }
}
