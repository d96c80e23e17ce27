import { type EndpointScrape, scrapeStaleMs } from '../shm/index.ts';
import { Serves, servesAll } from './endpoint-role.ts';
import type { KvPicker } from './kv/kv-picker.ts';
import type { PromptKeys } from './kv/prompt-keys.ts';
import type { Picker } from './pickers.ts';
import type { PickRequest, PoolView } from './pool-view.ts';

/** What of a request decides where it is answered. */
export interface DecodeRequest extends PickRequest {
  /** Of the whole prompt, about. */
  readonly splitTokens: number;
  readonly prompt: PromptKeys | null;
  readonly wants: number;
}

/** Below 1, so that the score stays finite. */
const kvUsageMax = 0.98;
/** An endpoint that has the prompt already may have so many times the load of the best one before it is passed over. */
const loadFactorMax = 2;

/**
 * Where an answer is decoded, in a pool with roles: where the fewest tokens are in flight for the endpoint's weight, counted
 * as more where its KV cache is nearly full. What is cached is no reason to go there, as in Dynamo: the prompt comes from
 * somewhere else anyhow, and answers that follow their conversations pile up.
 *
 *     score = (tokens in flight + requests + this prompt) / (weight * share * (1 - k))
 *
 * Unless it saves the prefill step: an endpoint that can serve requests whole and lacks fewer than `prefillFromTokens` of this
 * prompt, be it because it is short, takes the request alone, if its score is at most twice the best.
 */
export class DecodeChoice implements Picker {
  readonly keepsKeys = false;
  readonly comparison: { readonly scores: Float64Array; readonly highestWins: false; reason: 'least' | 'alone' };
  readonly #prefillFromTokens: number;
  readonly #kv: KvPicker | null;
  readonly #scrape: EndpointScrape = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };
  /** Equals take turns. */
  #turn = 0;

  /** `kv`: has been asked to look at the request's prompt before `choose`; null where nobody knows what is cached. */
  constructor(endpointCount: number, prefillFromTokens: number, kv: KvPicker | null) {
    this.comparison = { scores: new Float64Array(endpointCount), highestWins: false, reason: 'least' };
    this.#prefillFromTokens = prefillFromTokens;
    this.#kv = kv;
  }

  /** @hot per attempt. */
  choose(view: PoolView, request: DecodeRequest, nowMs: number): number {
    const { candidates, count } = view;
    const { scores } = this.comparison;
    scores.fill(Number.NaN);
    let [alone, paired, whole] = [-1, -1, -1];
    const start = this.#turn++;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[(start + turn) % count]!;
      const score = (scores[index] = this.#score(view, request, index, nowMs));
      if (this.#saves(view, request, index) && (alone < 0 || score < scores[alone]!)) alone = index;
      if (serves(view, request, index, Serves.decode) && (paired < 0 || score < scores[paired]!)) paired = index;
      if (whole < 0 || score < scores[whole]!) whole = index;
    }
    const isAlone = alone >= 0 && (paired < 0 || scores[alone]! <= scores[paired]! * loadFactorMax);
    this.comparison.reason = isAlone ? 'alone' : 'least';
    if (isAlone) return alone;
    return paired >= 0 ? paired : whole;
  }

  /** Whether endpoint `index` needs nobody to compute the prompt for it. */
  isServedAlone(view: PoolView, request: DecodeRequest, index: number): boolean {
    return !serves(view, request, index, Serves.decode) || this.#saves(view, request, index);
  }

  /** Whether it would take longer to have the prompt computed elsewhere, or cannot be done. */
  #saves(view: PoolView, request: DecodeRequest, index: number): boolean {
    if ((request.wants & Serves.decode) === 0) return true;
    if (!serves(view, request, index, Serves.whole)) return false;
    const matched = this.#kv === null || request.prompt === null ? 0 : this.#kv.matchedTokens(index);
    return request.splitTokens - matched < this.#prefillFromTokens;
  }

  #score(view: PoolView, request: DecodeRequest, index: number, nowMs: number): number {
    const { fleet, endpoints, shares } = view;
    const { slot, weight } = endpoints[index]!;
    const isScraped = fleet.readScrape(slot, this.#scrape) && nowMs - this.#scrape.scrapedAtMs <= scrapeStaleMs;
    const used = isScraped ? Math.min(kvUsageMax, this.#scrape.kvCacheUsageRatio) : 0;
    const tokens = view.inflightTokens(slot) + view.inflight(slot) + request.splitTokens;
    return tokens / (weight * shares[index]! * (1 - used));
  }
}

function serves({ endpoints }: PoolView, request: DecodeRequest, index: number, what: Serves): boolean {
  return ((endpoints[index]!.serves ?? servesAll) & request.wants & what) !== 0;
}
