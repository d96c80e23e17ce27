/**
 * shm: where the threads of the process meet. It owns every layout in shared memory and is the only folder that uses
 * Atomics; everyone else calls methods with plain numbers.
 *
 * Threads: one control thread and `shardCount` shards (0..shardCount - 1). A word has one writing thread, or is only
 * changed by Atomics. Nothing here blocks: a taker that finds no room returns at once.
 *
 * Read in this order: memory (what exists, how large), shared-counts and budget (the smallest example of totals and
 * shadows), fleet-table and endpoint-scrape (what all threads know of each endpoint), fault, ejection, health-record and health-table (what
 * they think of it), work-table (what it gets done), admission (who is let in), slab-pool (body memory), histogram, series (metrics), heartbeats (who is
 * alive), queue-table, flow-cells and bells (who waits for a place, whose turn it is, how shards wake each other). model-table and resident-table (what endpoints say they have, and have in
 * memory). prefix-horizon and prefix-index know which
 * endpoint holds which prompts, prompt-secret what their keys are made with; prefix-journal is what of it other gateways are told, and peer-loads what
 * they told of their requests. shared-copy is how bytes get in and out.
 */
export { Admission } from './admission.ts';
export { Bells } from './bells.ts';
export { SharedBudget } from './budget.ts';
export type { EjectionRule } from './ejection.ts';
export { Fault, faultNames } from './fault.ts';
export { scrapeStaleMs } from './endpoint-scrape.ts';
export type { EndpointScrape } from './endpoint-scrape.ts';
export { EndpointState, FleetTable } from './fleet-table.ts';
export { FlowCells, flowCellCount } from './flow-cells.ts';
export { firstModelRow, healthRowCount, otherRow, wholeRow } from './health-record.ts';
export { HealthTable, Probe } from './health-table.ts';
export type { Attempt, HealthView } from './health-table.ts';
export { Heartbeats } from './heartbeats.ts';
export { bucketCount, bucketIndex, bucketUpperBound, percentile } from './histogram.ts';
export { controlIndex, createSharedMemory } from './memory.ts';
export type { SharedMemory, SharedMemorySizes } from './memory.ts';
export {
  contextTokensOf,
  isAdapter,
  listUnknown,
  listedModelsMax,
  loadsOnUse,
  ModelTable,
  notListed,
} from './model-table.ts';
export type { ListedModel } from './model-table.ts';
export { counterCountMax, histogramCountMax, metricCountMax, SeriesReader, SeriesWriter } from './series.ts';
export type { CounterSeries, HistogramSeries, SeriesSnapshot } from './series.ts';
export { PeerLoads } from './peer-loads.ts';
export type { PeerLoad } from './peer-loads.ts';
export { JournalKind, journalBlocksMax, PrefixJournalReader, PrefixJournalWriter } from './prefix-journal.ts';
export { PromptSecret } from './prompt-secret.ts';
export type { PrefixHorizon } from './prefix-horizon.ts';
export { createPrefixMemory, prefixEndpointCountMax, PrefixIndex } from './prefix-index.ts';
export type { PrefixKeys, PrefixMemory } from './prefix-index.ts';
export { PrefixSweeper } from './prefix-sweeper.ts';
export {
  flowBits,
  isTicketBefore,
  queuedKib,
  queueFirst,
  queueFirsts,
  queueFirstsMax,
  queueLevelCount,
  queueRowCount,
  QueueTable,
} from './queue-table.ts';
export type { QueueFirst } from './queue-table.ts';
export { Residency, residentsMax, ResidentTable } from './resident-table.ts';
export type { SharedCounts } from './shared-counts.ts';
export { copyShared } from './shared-copy.ts';
export { largeSlabBytes, SlabPool, smallSlabBytes } from './slab-pool.ts';
export type { SlabShare } from './slab-pool.ts';
export { WorkTable, workWindowMs, writeRateAssumed } from './work-table.ts';
