import type { KvLoads, KvPolicy, KvRequest } from '../kv/kv-policy.ts';

/** Share of the prompt from which an endpoint has it. */
const affinity = 0.8;
/** How much longer a prompt may wait where it is cached than elsewhere. */
const waitSecondsMax = 14;

/**
 * llm-d's "sticky until saturated" (August 2026): of the endpoints that hold nearly all of the prompt the one with the least
 * prefill waiting, until others have that much less to do. llm-d counts tokens against its measured peak rate; here they are
 * seconds, so endpoints may differ in speed.
 */
export class Sticky implements KvPolicy {
  readonly weighsRates = false;
  readonly highestWins = false;
  /** Seconds of prefill that wait there. */
  readonly scores: Float64Array;
  reason: 'cached' | 'saturated' | 'unknown' = 'cached';
  readonly #random: () => number;

  /** `random`: [0, 1), by which equals take turns. */
  constructor(endpointCount: number, random: () => number) {
    this.scores = new Float64Array(endpointCount);
    this.#random = random;
  }

  choose({ pendingTokens, prefillRate }: KvLoads, request: KvRequest, candidates: Int32Array, count: number): number {
    const { scores } = this;
    const start = Math.floor(this.#random() * count);
    let warm = -1;
    let any = -1;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[(turn + start) % count]!;
      const seconds = pendingTokens[index]! / prefillRate[index]!;
      scores[index] = seconds;
      if (any < 0 || seconds < scores[any]!) any = index;
      if (request.matchedTokens[index]! < affinity * request.promptTokens) continue;
      if (warm < 0 || seconds < scores[warm]!) warm = index;
    }
    if (warm < 0) this.reason = 'unknown';
    else this.reason = scores[warm]! - scores[any]! > waitSecondsMax ? 'saturated' : 'cached';
    return this.reason === 'cached' ? warm : any;
  }
}
