/**
 * pick: from a pool to one endpoint. Screens remove, the picker chooses, and the place is taken in the fleet table, so
 * that all shards count it. Owns nothing but its pickers' turn counters; the place is given back by account.
 *
 * Read in this order: pick, pool-view (the screens), pickers, hash. kv/ picks by what the KV caches hold: kv-aware (the steps
 * of an attempt), prompt-keys, kv-score with ../rendezvous (homes of cold prompts) and replica-limiter (how fast a hot one
 * spreads), token-ratio and prefill-rate (what is learned).
 */
export { hashText, mixPair } from './hash.ts';
export { KvAware, KvLearned } from './kv/kv-aware.ts';
export type { KvPickRequest } from './kv/kv-aware.ts';
export { PromptKeys } from './kv/prompt-keys.ts';
export { KvScore, kvScoreDefaults } from './kv/kv-score.ts';
export type { KvLoads, KvRequest, KvScoreSettings } from './kv/kv-score.ts';
export { allFull, noneHealthy, pickEndpoint } from './pick.ts';
export { makePicker } from './pickers.ts';
export type { Picker, PickerContext } from './pickers.ts';
export { PoolView } from './pool-view.ts';
export type { PickEndpoint, PickRequest, PickRule } from './pool-view.ts';
export { Rendezvous } from './rendezvous.ts';
export { ReplicaLimiter } from './kv/replica-limiter.ts';
export { TriedEndpoints } from './tried-endpoints.ts';
