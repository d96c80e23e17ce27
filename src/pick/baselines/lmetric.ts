import { type KvLoads, type KvPolicy, type KvRequest, uncachedTokens } from '../kv/kv-policy.ts';

/** LMetric: the tokens that are not cached, times the requests there, this one included. One product, and nothing to tune. */
export class Lmetric implements KvPolicy {
  readonly weighsRates = false;
  readonly highestWins = false;
  /** Tokens times requests, for a weight of 1. */
  readonly scores: Float64Array;
  readonly reason = 'least';
  readonly #random: () => number;

  /** `random`: [0, 1), by which equals take turns. */
  constructor(endpointCount: number, random: () => number) {
    this.scores = new Float64Array(endpointCount);
    this.#random = random;
  }

  choose({ inflight, weight }: KvLoads, request: KvRequest, candidates: Int32Array, count: number): number {
    const start = Math.floor(this.#random() * count);
    let best = -1;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[(turn + start) % count]!;
      const cost = (uncachedTokens(request, index) * (inflight[index]! + 1)) / weight[index]!;
      this.scores[index] = cost;
      if (cost < bestCost) {
        best = index;
        bestCost = cost;
      }
    }
    return best;
  }
}
