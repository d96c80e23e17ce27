import type { KvLoads, KvPolicy, KvRequest } from '../kv/kv-policy.ts';
import { LeastRequest } from './least-request.ts';

/** The defaults of its command line are these; those of its library 0.5, 32 and 1.1. */
export interface SglangSettings {
  /** Share of the prompt above which a match decides. */
  readonly cacheThreshold: number;
  /** Requests in flight are unbalanced when the most and the fewest differ by more than both, and the cache has no say then. */
  readonly balanceAbs: number;
  readonly balanceRel: number;
}

export const sglangDefaults: SglangSettings = { cacheThreshold: 0.3, balanceAbs: 64, balanceRel: 1.5 };

/**
 * `cache_aware` of SGLang's router (model_gateway/src/policies/cache_aware.rs): the longest match, if it is long enough and
 * nobody has too much to do; else the fewest requests in flight. Its tree of texts names one owner, the last that used the
 * text; the index names all that hold it, and of those the one with the fewest requests is taken.
 */
export class Sglang implements KvPolicy {
  readonly weighsRates = false;
  readonly highestWins = false;
  reason: 'match' | 'short_match' | 'unbalanced' = 'match';
  readonly #settings: SglangSettings;
  readonly #leastRequest: LeastRequest;

  constructor(endpointCount: number, settings: SglangSettings = sglangDefaults) {
    this.#settings = settings;
    this.#leastRequest = new LeastRequest(endpointCount);
  }

  /** Requests in flight for a weight of 1. */
  get scores(): Float64Array {
    return this.#leastRequest.scores;
  }

  choose(loads: KvLoads, request: KvRequest, candidates: Int32Array, count: number): number {
    const { cacheThreshold, balanceAbs, balanceRel } = this.#settings;
    const idlest = this.#leastRequest.choose(loads, candidates, count);
    const { scores } = this;
    const fewest = scores[idlest]!;
    let most = 0;
    let owner = -1;
    let matched = 0;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      most = Math.max(most, scores[index]!);
      const tokens = request.matchedTokens[index]!;
      if (tokens < matched || (tokens === matched && owner >= 0 && scores[index]! >= scores[owner]!)) continue;
      owner = index;
      matched = tokens;
    }
    if (most - fewest > balanceAbs && most > balanceRel * fewest) this.reason = 'unbalanced';
    else if (matched / request.promptTokens > cacheThreshold) this.reason = 'match';
    else this.reason = 'short_match';
    return this.reason === 'match' ? owner : idlest;
  }
}
