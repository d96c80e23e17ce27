/** `GET /sim/stats`: what tests ask a simulated engine after the fact. */
import type { SimContext } from './context.ts';
import type { AbortPhase } from './engine-metrics.ts';
import type { FinishReason } from './sequence.ts';
import type { TransferCounts } from './transfer.ts';

export interface SimStats {
  readonly name: string;
  /** Requests whose response has not ended, the one that asks included. */
  readonly active: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvBlocks: number;
  readonly kvBlocksUsed: number;
  /** Blocks a later prompt could reuse. */
  readonly kvBlocksCached: number;
  readonly kvBlocksEvicted: number;
  readonly kvCacheUsageRatio: number;
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly preemptions: number;
  readonly steps: number;
  /** Adapters loaded so far, and those in memory, least recently used first. */
  readonly adapterLoads: number;
  readonly adaptersLoaded: readonly string[];
  readonly finished: Readonly<Record<FinishReason | 'abort' | 'error', number>>;
  /** Generations whose client went away, by what they were doing. */
  readonly aborted: Readonly<Record<AbortPhase, number>>;
  readonly requests: Readonly<Record<string, number>>;
  /** Requests hit by a fault, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** Prompts handed over, and those that still wait. */
  readonly transfers: Readonly<TransferCounts> & { readonly open: number };
  readonly connections: number;
  readonly connectionsTotal: number;
  readonly requestBytes: number;
}

export function statsOf(context: SimContext): SimStats {
  const { engine, counters, settings } = context;
  const { cache, metrics } = engine;
  return {
    name: settings.name,
    active: counters.active,
    running: engine.runningCount,
    waiting: engine.waitingCount,
    kvBlocks: cache.blockCount,
    kvBlocksUsed: cache.usedCount,
    kvBlocksCached: cache.cachedCount,
    kvBlocksEvicted: cache.evictedCount,
    kvCacheUsageRatio: cache.usageRatio,
    prefixQueryTokens: metrics.prefixQueryTokens,
    prefixHitTokens: metrics.prefixHitTokens,
    promptTokens: metrics.promptTokens,
    cachedTokens: metrics.cachedTokens,
    completionTokens: metrics.completionTokens,
    preemptions: metrics.preemptions,
    steps: metrics.steps,
    adapterLoads: engine.adapters.loadCount,
    adaptersLoaded: [...engine.adapters.loaded],
    finished: { ...metrics.finished },
    aborted: { ...metrics.aborted },
    requests: Object.fromEntries(context.requestsByPath),
    faults: Object.fromEntries(context.faults.hits),
    transfers: { ...context.transfers.counts, open: context.transfers.openCount },
    connections: counters.connections,
    connectionsTotal: counters.connectionsTotal,
    requestBytes: counters.requestBytes,
  };
}
