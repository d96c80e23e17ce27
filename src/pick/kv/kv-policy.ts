/**
 * What is known when a prompt is to be placed, and who decides by it. `kv-picker` (or the simulator in native-bench/routing)
 * brings the numbers; a policy only compares them. kv-score is the gateway's own, those of other routers are in ../baselines.
 */

/** Each endpoint of a pool by endpoint index, over all threads and gateways that are known of. */
export interface KvLoads {
  /** Uncached prompt tokens of requests that have not got a byte of their answer yet. */
  readonly pendingTokens: Float64Array;
  readonly inflight: Float64Array;
  /** Requests that wait in the engine, as it said last; where it says nothing, or nothing of late, those in flight. */
  readonly queueDepth: Float64Array;
  /** 0..1; 0 where the engine says nothing, or nothing of late. */
  readonly kvUsageRatio: Float64Array;
  /** 0..1: of the completion tokens a second it can write, the part that it did of late; 0 where nobody knows. */
  readonly usedRatio: Float64Array;
  /** Prompt tokens a second, less while the endpoint warms up or if it has less weight; above 0. */
  readonly prefillRate: Float64Array;
  /** As configured; above 0. */
  readonly weight: Float64Array;
  readonly penaltySeconds: Float64Array;
}

/** Borrowed for one call. */
export interface KvRequest {
  promptTokens: number;
  /** Tokens from the prompt's start that each endpoint holds, by endpoint index. */
  readonly matchedTokens: Int32Array;
  /** Hash of the prompt's first few KiB: the prefix that becomes hot. */
  root: number;
  /**
   * Hash of the first block that no endpoint holds, the root when none is held at all: what a cold prompt is placed by. With
   * the root alone all conversations of one assistant would have the same home.
   */
  branch: number;
  /** Hash of what has to be in an engine's memory for it: the name of an adapter, or of a model that is swapped. 0: nothing has. */
  loadKey: number;
  /** Some candidate has that in memory. */
  isLoaded: boolean;
}

/** What a choice compared, for whoever asks why. Valid until the next one. */
export interface Comparison {
  /** By endpoint index. Of those left out it stays what it was: whoever asks fills it with NaN before the choice. */
  readonly scores: Float64Array;
  /** Whether the highest score wins, or the lowest. Other rules may come first: see `reason`. */
  readonly highestWins: boolean;
  /** Which rule decided: a word, one of a few. */
  readonly reason: string;
}

/** One for each pool and shard. */
export interface KvPolicy extends Comparison {
  /** Whether `prefillRate` is enough for it to spare an endpoint that warms up. If not, that is no candidate for a part of the requests. */
  readonly weighsRates: boolean;
  /** @hot per pick. An endpoint index out of the first `count` (at least one) of `candidates`. */
  choose(loads: KvLoads, request: KvRequest, candidates: Int32Array, count: number, nowMs: number): number;
}

/** With nothing known of anybody. */
export function emptyLoads(endpointCount: number): KvLoads {
  return {
    pendingTokens: new Float64Array(endpointCount),
    inflight: new Float64Array(endpointCount),
    queueDepth: new Float64Array(endpointCount),
    kvUsageRatio: new Float64Array(endpointCount),
    usedRatio: new Float64Array(endpointCount),
    prefillRate: new Float64Array(endpointCount).fill(1),
    weight: new Float64Array(endpointCount).fill(1),
    penaltySeconds: new Float64Array(endpointCount),
  };
}

/** At least 1: an engine computes the last token even of a prompt it holds. */
export function uncachedTokens({ promptTokens, matchedTokens }: KvRequest, index: number): number {
  return Math.max(1, promptTokens - matchedTokens[index]!);
}
