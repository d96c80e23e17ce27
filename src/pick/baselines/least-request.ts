import type { KvLoads } from '../kv/kv-policy.ts';

/** Fewest requests in flight for its weight; among equals by turns. Knows nothing of prompts. */
export class LeastRequest {
  readonly highestWins = false;
  /** Requests in flight for a weight of 1. */
  readonly scores: Float64Array;
  readonly reason = 'least';
  #turn = 0;

  constructor(endpointCount: number) {
    this.scores = new Float64Array(endpointCount);
  }

  /** @hot per pick. An endpoint index out of the first `count` (at least one) of `candidates`. */
  choose({ inflight, weight }: Pick<KvLoads, 'inflight' | 'weight'>, candidates: Int32Array, count: number): number {
    const start = this.#turn++ % count;
    let best = -1;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[(turn + start) % count]!;
      const load = inflight[index]! / weight[index]!;
      this.scores[index] = load;
      if (load < bestLoad) {
        best = index;
        bestLoad = load;
      }
    }
    return best;
  }
}
