import type { TokenUsage } from '../../http/index.ts';
import {
  type EndpointScrape,
  prefixEndpointCountMax,
  PrefixIndex,
  type PrefixJournalWriter,
  type PrefixMemory,
  scrapeStaleMs,
  type WorkTable,
} from '../../shm/index.ts';
import { LoadTimes } from '../load-time.ts';
import { Participants } from '../participants.ts';
import { addPending, givePending, type PendingPrompt } from '../pending-prompts.ts';
import type { Picker } from '../pickers.ts';
import type { PickRequest, PoolView } from '../pool-view.ts';
import { Loading, type LoadingRequest, type Residents } from '../residents.ts';
import { type Comparison, emptyLoads, type KvLoads, type KvPolicy, type KvRequest } from './kv-policy.ts';
import { EventTokens } from './event-tokens.ts';
import { PrefillRate } from './prefill-rate.ts';
import type { PromptKeys } from './prompt-keys.ts';
import { TokenRatio } from './token-ratio.ts';

/** What a pool's shard has learned of its endpoints and models; outlives a reload. */
export class KvLearned {
  readonly ratio = new TokenRatio();
  readonly rate = new PrefillRate();
  readonly eventTokens = new EventTokens();
  readonly loads = new LoadTimes();
}

/** What of an exchange this picker reads, and what it keeps there between its steps. */
export interface KvPickRequest extends PickRequest, PendingPrompt, LoadingRequest {
  /** Sealed for this pool; null: no prompt that could be cached. */
  readonly prompt: PromptKeys | null;
  readonly modelLabel: string;
  /** Tenant, as the pool's queue tells them apart; 0: none is named. */
  readonly flow: number;
  /** Prompt tokens, as far as they can be told from its bytes. */
  estimatedTokens: number;
  /** Of those, what the endpoint was believed to hold. */
  matchedTokens: number;
  /** What the policy compared it by, in the policy's unit; NaN when it had no say. */
  score: number;
  /** How long its endpoint took to its first token for `computedTokens`, which nothing but they explains; 0: something else does. */
  computedMs: number;
  computedTokens: number;
}

export interface KvPool {
  readonly view: PoolView;
  readonly memory: PrefixMemory;
  readonly work: WorkTable;
  /** The pool's, of those that have an index. */
  readonly number: number;
  /** Where other gateways are told; null: there are none. */
  readonly journal: PrefixJournalWriter | null;
  /** By endpoint index: the endpoint's number in the index. */
  readonly ordinals: readonly number[];
  readonly learned: KvLearned;
  readonly policy: KvPolicy;
  /** What loading models costs; null: nothing. */
  readonly residents: Residents | null;
  /** For requests without a prompt. */
  readonly fallback: Picker;
  /** [0, 1). */
  readonly random: () => number;
}

/** An engine that answers so many long matches with nothing from its cache does not have what we believe. */
const missesMax = 3;
const matchedTokensMin = 2048;
/** A request tells how fast its endpoint is when no more than this part of its own tokens waited before it. */
const aheadParts = 8;

/**
 * Picks by what the endpoints' KV caches hold: finds out what is known of a prompt and of the endpoints, lets the pool's policy
 * choose, and keeps the books of what was sent. The order of calls for one attempt:
 *
 *   look ──▶ choose (any number of times, or none: a probe) ──▶ place ──▶ answerBegan ──▶ finish
 *                                                                  └──────── giveUp ───────┘ (whenever it ends)
 *
 * What is placed stands in the index before it is sent, so requests with the same beginning that come meanwhile follow it.
 */
export class KvPicker implements Picker {
  readonly keepsKeys = false;
  readonly #pool: KvPool;
  readonly #index: PrefixIndex;
  readonly #policy: KvPolicy;
  readonly #participants: Participants;
  /** By ordinal. */
  readonly #matchedBytes = new Int32Array(prefixEndpointCountMax);
  readonly #loads: KvLoads;
  readonly #request: { -readonly [Key in keyof KvRequest]: KvRequest[Key] };
  readonly #scrape: EndpointScrape = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };
  /** Some endpoint holds some of the prompt looked up last. */
  #isKnown = false;
  /** Some of `penaltySeconds` may be above 0. */
  #hasPenalties = false;
  /** By endpoint index: long matches in a row of which the engine had nothing. */
  readonly #missCounts: Uint8Array;
  comparison: Comparison | null = null;

  constructor(pool: KvPool) {
    const { view } = pool;
    const count = view.endpoints.length;
    this.#pool = pool;
    this.#index = new PrefixIndex(pool.memory);
    this.#policy = pool.policy;
    this.#participants = new Participants(pool.random);
    this.#missCounts = new Uint8Array(count);
    this.#loads = emptyLoads(count);
    this.#request = {
      promptTokens: 0,
      matchedTokens: new Int32Array(count),
      root: 0,
      branch: 0,
      loadKey: 0,
      isLoaded: false,
    };
  }

  /** @hot per attempt. What the endpoints hold of the prompt; 0.2 ms for 3 MB. */
  look(request: KvPickRequest): void {
    const { prompt } = request;
    request.score = Number.NaN;
    if (prompt === null) return;
    const tokens = this.#pool.learned.ratio.tokens(request.modelLabel, request.flow, prompt);
    const ratio = tokens / prompt.byteCount;
    const matched = this.#matchedBytes;
    matched.fill(0);
    this.#index.lookup(prompt, matched);
    const { matchedTokens } = this.#request;
    let most = 0;
    const { ordinals } = this.#pool;
    for (let index = 0; index < ordinals.length; index++) {
      const bytes = matched[ordinals[index]!]!;
      if (bytes > most) most = bytes;
      matchedTokens[index] = Math.floor(bytes * ratio);
    }
    this.#isKnown = most > 0;
    request.estimatedTokens = Math.max(1, Math.ceil(tokens));
    this.#request.promptTokens = request.estimatedTokens;
    this.#request.root = prompt.root;
    this.#request.branch = prompt.branch(most);
  }

  /** @hot per attempt. `look` was called for the request. */
  choose(view: PoolView, request: KvPickRequest, nowMs: number): number {
    if (request.prompt === null) {
      const { fallback } = this.#pool;
      const index = fallback.choose(view, request, nowMs);
      this.comparison = fallback.comparison;
      return index;
    }
    const policy = this.#policy;
    this.#readLoads(view, nowMs);
    this.#readResidents(view, request);
    policy.scores.fill(Number.NaN);
    this.comparison = policy;
    let { candidates: list, count } = view;
    if (!policy.weighsRates) {
      this.#participants.draw(view);
      ({ list, count } = this.#participants);
    }
    const best = policy.choose(this.#loads, this.#request, list, count, nowMs);
    request.score = policy.scores[best]!;
    return best;
  }

  #readResidents({ candidates, count }: PoolView, request: KvPickRequest): void {
    const { residents } = this.#pool;
    const { penaltySeconds } = this.#loads;
    const key = residents === null ? 0 : residents.keyOf(request);
    this.#request.loadKey = key;
    this.#request.isLoaded = false;
    if (key === 0) {
      if (this.#hasPenalties) penaltySeconds.fill(0);
      this.#hasPenalties = false;
      return;
    }
    this.#hasPenalties = true;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      const seconds = residents!.seconds(index, key);
      penaltySeconds[index] = seconds;
      if (seconds === 0) this.#request.isLoaded = true;
    }
  }

  /** Seconds until endpoint `index` has the model in memory, of the prompt looked at last. */
  loadSeconds(index: number): number {
    return this.#loads.penaltySeconds[index]!;
  }

  /** Tokens that endpoint `index` holds of the prompt looked at last. */
  matchedTokens(index: number): number {
    return this.#request.matchedTokens[index]!;
  }

  #readLoads(view: PoolView, nowMs: number): void {
    const { fleet, endpoints, candidates, count, shares } = view;
    const { work, learned } = this.#pool;
    const { rate } = learned;
    const loads = this.#loads;
    const scrape = this.#scrape;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      const { slot, url, weight } = endpoints[index]!;
      const inflight = view.inflight(slot);
      const isScraped = fleet.readScrape(slot, scrape) && nowMs - scrape.scrapedAtMs <= scrapeStaleMs;
      loads.pendingTokens[index] = view.pendingTokens(slot);
      loads.inflight[index] = inflight;
      loads.queueDepth[index] = isScraped ? scrape.queueDepth : inflight;
      loads.kvUsageRatio[index] = isScraped ? scrape.kvCacheUsageRatio : 0;
      loads.usedRatio[index] = work.usedRatio(slot);
      // One that warms up, or is worth less than others, takes longer for the same.
      loads.prefillRate[index] = rate.of(url) * weight * shares[index]!;
      loads.weight[index] = weight;
    }
  }

  /** The attempt goes to endpoint `index`, before anything of it is sent. Returns whether any endpoint held some of the prompt. */
  place(request: KvPickRequest, index: number): boolean {
    const { prompt } = request;
    if (prompt === null) return false;
    const { matchedTokens } = this.#request;
    request.matchedTokens = Math.min(matchedTokens[index]!, request.estimatedTokens);
    request.computedMs = 0;
    addPending(this.#pool.view, request, index, Math.max(1, request.estimatedTokens - request.matchedTokens));
    this.#insert(prompt, this.#pool.ordinals[index]!);
    return this.#isKnown;
  }

  /** The first byte of the answer is here: the prompt has been computed. `waitedMs`: since the request was sent. */
  answerBegan(request: KvPickRequest, waitedMs: number): void {
    if (request.prompt === null || request.pendingTokens === 0) return;
    const { url } = this.#pool.view.endpoints[request.endpointIndex]!;
    const { rate } = this.#pool.learned;
    // Of what was ahead nobody knows how much had been computed by then: counted whole it makes engines look up to seven
    // times as fast as they are.
    const isAlone = request.aheadTokens * aheadParts <= request.pendingTokens;
    if (isAlone && request.loading !== Loading.cold) {
      request.computedMs = waitedMs;
      request.computedTokens = request.pendingTokens;
    } else if (isAlone && waitedMs > 0)
      this.#pool.residents!.learn(request, waitedMs / 1000 - request.pendingTokens / rate.of(url));
    this.giveUp(request);
  }

  /** Nothing of it waits at the endpoint any more, however that came. */
  giveUp(request: KvPickRequest): void {
    givePending(this.#pool.view, request);
  }

  /**
   * The answer is complete: its blocks, and those of the prompt, are the engine's youngest now. `hadPrompt`: its prompt came from
   * another endpoint, so what the engine calls cached says nothing of what it held.
   */
  finish(request: KvPickRequest, usage: TokenUsage | null, hadPrompt = false): void {
    const { prompt } = request;
    if (prompt === null) return;
    const { learned, journal, number } = this.#pool;
    const { ratio } = learned;
    const { horizon } = this.#index;
    const ordinal = this.#pool.ordinals[request.endpointIndex]!;
    this.#insert(prompt, ordinal);
    this.#learnRate(request, usage);
    if (usage === null) return;
    ratio.learn(request.modelLabel, request.flow, prompt, usage.promptTokens);
    const tokenBytes = 1 / ratio.of(request.modelLabel, request.flow);
    // An endpoint may claim any number, and more than its cache holds empties it just as well.
    const answerBytes = Math.min(Math.round(usage.completionTokens * tokenBytes), horizon.capacity(ordinal));
    horizon.useUnnamed(ordinal, answerBytes);
    journal?.unnamed(number, ordinal, answerBytes);
    // Sizes in the index are bytes, and a cache holds tokens.
    horizon.fit(ordinal, tokenBytes);
    if (!hadPrompt) this.#compare(request, usage.cachedTokens, ordinal);
  }

  /**
   * Only now: where another gateway has sent the same beginning its engine had most of a prompt that is new here, which makes it
   * look ten times as fast as it is, and `usage` says so at the end.
   */
  #learnRate(request: KvPickRequest, usage: TokenUsage | null): void {
    if (request.computedMs === 0) return;
    const { url } = this.#pool.view.endpoints[request.endpointIndex]!;
    const uncached = usage === null ? request.computedTokens : usage.promptTokens - usage.cachedTokens;
    this.#pool.learned.rate.learn(url, Math.min(request.computedTokens, uncached), request.computedMs);
    request.computedMs = 0;
  }

  #insert(prompt: PromptKeys, ordinal: number): void {
    const { journal, number } = this.#pool;
    if (journal === null) {
      this.#index.insert(prompt, ordinal);
      return;
    }
    journal.begin(number, ordinal, prompt.secret);
    this.#index.insert(prompt, ordinal, journal);
    journal.end();
  }

  /** Only engines that tell of cached tokens at all can contradict; that they do is known from the first that is above 0. */
  #compare(request: KvPickRequest, cachedTokens: number, ordinal: number): void {
    const index = request.endpointIndex;
    if (cachedTokens > 0) this.#missCounts[index] = 1;
    else if (request.matchedTokens >= matchedTokensMin && this.#missCounts[index]! > 0) {
      if (++this.#missCounts[index]! <= missesMax) return;
      this.#index.horizon.forget(ordinal);
      this.#pool.journal?.forget(this.#pool.number, ordinal);
      this.#missCounts[index] = 0;
    }
  }
}
