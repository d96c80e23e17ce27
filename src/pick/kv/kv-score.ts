import { Rendezvous } from '../rendezvous.ts';
import { type KvLoads, type KvPolicy, type KvRequest, uncachedTokens } from './kv-policy.ts';
import { ReplicaLimiter } from './replica-limiter.ts';

/**
 * Which endpoint costs the fleet the least seconds, when what their KV caches hold is known:
 *
 *     J = P / R                          the prefill that waits there already
 *       + u / R * (1 + rho + gamma * q)  this prompt's part that is not cached
 *       + lambda * k / (1 - k)           KV cache nearly full: preemption is close
 *       + mu * x                         little headroom for the answer
 *       + penalty                        an adapter to load
 *
 * P: tokens not yet prefilled, R: prefill rate, u: uncached tokens of this prompt, q: requests in flight, k: share of the KV
 * cache in use, x: share in use of the completion tokens a second. The factor of u is what keeps it stable: computing pushes
 * out prefixes that are wanted again with probability rho, and delays each of the q that run. With both at 0 this is the
 * greedy least time to first token, which collapses once misses make misses. A prompt that nobody knows goes to its
 * rendezvous home, unless that is too busy.
 *
 * Pure: the caller brings the numbers and the time. native-bench/routing compares it with other policies.
 */
export interface KvScoreSettings {
  /** Seconds of delay charged for each request in flight and second of prefill; the first below `crowdedFrom`. */
  readonly gamma: number;
  readonly gammaCrowded: number;
  /** Mean use of the KV caches at which gamma begins to rise, and at which it has risen. */
  readonly crowdedFrom: number;
  readonly crowdedTo: number;
  /** Seconds at half a KV cache in use. */
  readonly lambda: number;
  /**
   * Seconds that an endpoint with all of its headroom is better than one with none: what decides between prompts that cost next to
   * nothing, whose answers do. Rates are some seconds old, so it is small: with more, everybody would follow them to and fro.
   */
  readonly mu: number;
  /** Weight of one request in the mean of the matched ratio. */
  readonly rhoAlpha: number;
  /** A prompt is cold when no endpoint holds more than this share of it. */
  readonly coldRatio: number;
  /** How much longer a cold prompt may wait at its home than elsewhere, in times of its own prefill, when all is shared. */
  readonly homeSlack: number;
  /** But never by more seconds: homes are for pickers that do not know of one another, and one who waits has nothing of that. */
  readonly homeSlackSecondsMax: number;
}

export const kvScoreDefaults: KvScoreSettings = {
  gamma: 0.1,
  gammaCrowded: 0.3,
  crowdedFrom: 0.8,
  crowdedTo: 0.9,
  lambda: 0.15,
  mu: 0.02,
  rhoAlpha: 0.02,
  coldRatio: 0.5,
  homeSlack: 3,
  homeSlackSecondsMax: 0.5,
};

/** How many copies of a hot prefix may be begun in the time that one takes. With one, a burst within it all meets in one place. */
const copiesPerPrefill = 4;

/** Below 1, so that k / (1 - k) stays finite. */
const kvUsageMax = 0.98;

export class KvScore implements KvPolicy {
  readonly weighsRates = true;
  readonly highestWins = false;
  /** J in seconds. */
  readonly scores: Float64Array;
  reason: 'least' | 'home' | 'copying' = 'least';
  readonly #settings: KvScoreSettings;
  readonly #hashes: readonly number[];
  readonly #home = new Rendezvous();
  readonly #replicas = new ReplicaLimiter();
  // Starts as if everything were shared: the first prompts go home, and only if that proves useless they stop.
  #rho = 1;

  /** `hashes`: of the endpoints' names, by endpoint index. */
  constructor(hashes: readonly number[], settings: KvScoreSettings = kvScoreDefaults) {
    this.scores = new Float64Array(hashes.length);
    this.#hashes = hashes;
    this.#settings = settings;
  }

  /** Mean share of a prompt that the chosen endpoint held: how likely what is cached is wanted again. */
  get rho(): number {
    return this.#rho;
  }

  /** @hot per pick. An endpoint index out of the first `count` (at least one) of `candidates`. */
  choose(loads: KvLoads, request: KvRequest, candidates: Int32Array, count: number, nowMs: number): number {
    const settings = this.#settings;
    const gamma = this.#gamma(loads, candidates, count);
    const coldTokens = settings.coldRatio * request.promptTokens;
    let warmest = 0;
    for (let turn = 0; turn < count; turn++) {
      const tokens = request.matchedTokens[candidates[turn]!]!;
      if (tokens > warmest) warmest = tokens;
    }
    const isCold = warmest < coldTokens;
    // Cold prompts are ranked for their homes, warm ones only to break ties. An adapter has homes of its own, or it would be
    // loaded wherever one of its prompts is at home.
    const { loadKey } = request;
    const coldRoot = loadKey > 0 ? loadKey : request.branch;
    this.#home.rank(isCold ? coldRoot : request.root, candidates, count, this.#hashes);
    const isLimited = !isCold && !this.#replicas.isOpen(request.root, nowMs);
    let best = -1;
    let bestSeconds = Number.POSITIVE_INFINITY;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      if (isLimited && request.matchedTokens[index]! < coldTokens) continue;
      const seconds = this.#seconds(loads, request, index, gamma);
      this.scores[index] = seconds;
      if (seconds < bestSeconds || (seconds === bestSeconds && index === this.#home.first)) {
        best = index;
        bestSeconds = seconds;
      }
    }
    this.reason = isLimited ? 'copying' : 'least';
    // All that are too short for a block would have the same home.
    const hasHome = loadKey > 0 ? !request.isLoaded : request.root !== 0;
    if (isCold && hasHome) best = this.#homeOr(best, loads, request);
    const uncached = uncachedTokens(request, best);
    // A copy is made: by the first to compute it, or beside others that have it.
    if (request.matchedTokens[best]! < coldTokens || isCold) {
      const prefillMs = ((loads.pendingTokens[best]! + uncached) / loads.prefillRate[best]!) * 1000;
      this.#replicas.close(request.root, nowMs + prefillMs / copiesPerPrefill);
    }
    this.#rho += settings.rhoAlpha * (1 - uncached / request.promptTokens - this.#rho);
    return best;
  }

  #gamma(loads: KvLoads, candidates: Int32Array, count: number): number {
    const { gamma, gammaCrowded, crowdedFrom, crowdedTo } = this.#settings;
    let usage = 0;
    for (let turn = 0; turn < count; turn++) usage += loads.kvUsageRatio[candidates[turn]!]!;
    const crowded = (usage / count - crowdedFrom) / (crowdedTo - crowdedFrom);
    return gamma + (gammaCrowded - gamma) * Math.min(1, Math.max(0, crowded));
  }

  #seconds(loads: KvLoads, request: KvRequest, index: number, gamma: number): number {
    const delayed = 1 + this.#rho + gamma * loads.inflight[index]!;
    const own = (uncachedTokens(request, index) * delayed) / loads.prefillRate[index]!;
    return this.#waitSeconds(loads, index) + own + loads.penaltySeconds[index]!;
  }

  /** What any request meets there, whatever is cached. */
  #waitSeconds(loads: KvLoads, index: number): number {
    const used = Math.min(kvUsageMax, loads.kvUsageRatio[index]!);
    const { lambda, mu } = this.#settings;
    const crowding = (lambda * used) / (1 - used) + mu * loads.usedRatio[index]!;
    return loads.pendingTokens[index]! / loads.prefillRate[index]! + crowding;
  }

  /** The first of two homes that serves it hardly later than `best`. Homes pay by later hits, so slack goes with rho. */
  #homeOr(best: number, loads: KvLoads, request: KvRequest): number {
    const uncached = uncachedTokens(request, best);
    const { homeSlack, homeSlackSecondsMax } = this.#settings;
    const prefixSlack = Math.min(homeSlackSecondsMax, (this.#rho * homeSlack * uncached) / loads.prefillRate[best]!);
    // An adapter that nobody has is loaded wherever it goes: at home it is found again.
    const slack = prefixSlack + (request.loadKey > 0 ? loads.penaltySeconds[best]! : 0);
    const bound = this.#servedSeconds(loads, best, uncached) + slack;
    const { first, second } = this.#home;
    const isFirstFree = this.#servedSeconds(loads, first, uncached) <= bound;
    if (!isFirstFree && (second < 0 || this.#servedSeconds(loads, second, uncached) > bound)) return best;
    this.reason = 'home';
    return isFirstFree ? first : second;
  }

  /** Until so many tokens are computed there: an endpoint that is slow, or warms up, is no home for long prompts. */
  #servedSeconds(loads: KvLoads, index: number, tokens: number): number {
    return this.#waitSeconds(loads, index) + tokens / loads.prefillRate[index]! + loads.penaltySeconds[index]!;
  }
}
