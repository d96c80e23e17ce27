import type { KvLoads, KvPolicy, KvRequest } from '../kv/kv-policy.ts';

/** llm-d's usual weights. */
const prefixWeight = 3;
const queueWeight = 2;
const freeKvWeight = 2;

/**
 * The weighted sum of scorers of llm-d's endpoint picker: the share of the prompt that is cached, how short the engine's queue
 * is between the longest and the shortest, and how much of its KV cache is free. Its load is what engines report, so between
 * two scrapes it does not see its own choices.
 */
export class Blend implements KvPolicy {
  readonly weighsRates = false;
  readonly highestWins = true;
  /** 0..7. */
  readonly scores: Float64Array;
  readonly reason = 'most';
  readonly #random: () => number;

  /** `random`: [0, 1), by which equals take turns. */
  constructor(endpointCount: number, random: () => number) {
    this.scores = new Float64Array(endpointCount);
    this.#random = random;
  }

  choose(loads: KvLoads, request: KvRequest, candidates: Int32Array, count: number): number {
    const { queueDepth, weight, kvUsageRatio } = loads;
    let most = 0;
    let fewest = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      const queue = queueDepth[index]! / weight[index]!;
      most = Math.max(most, queue);
      fewest = Math.min(fewest, queue);
    }
    const start = Math.floor(this.#random() * count);
    let best = -1;
    let bestScore = -1;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[(turn + start) % count]!;
      const queue = most === fewest ? 1 : (most - queueDepth[index]! / weight[index]!) / (most - fewest);
      const prefix = (prefixWeight * request.matchedTokens[index]!) / request.promptTokens;
      const score = prefix + queueWeight * queue + freeKvWeight * (1 - kvUsageRatio[index]!);
      this.scores[index] = score;
      if (score > bestScore) {
        best = index;
        bestScore = score;
      }
    }
    return best;
  }
}
