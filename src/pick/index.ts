/**
 * pick: from a pool to one endpoint. Screens remove, the picker chooses, and the place is taken in the fleet table, so
 * that all shards count it. Owns nothing but its pickers' turn counters; the place is given back by account.
 *
 * Read in this order: pick, pool-view (the screens), saturation, pending-prompts (what waits at an endpoint), model-fit, residents (what is in memory), participants (slow start), pickers, hash. kv/ picks by what the KV caches
 * hold: kv-picker (the steps of an attempt), prompt-keys, kv-policy (what a policy is told), kv-score (kv_aware) with
 * ../rendezvous (homes of cold prompts) and replica-limiter (how fast a hot one spreads), token-ratio, prefill-rate and event-tokens (what is
 * learned). baselines/ are the rules of other routers, for those who want them and to be compared with. endpoint-role
 * and decode-choice are for pools whose endpoints have roles. explain tells a client why.
 */
export { Blend } from './baselines/blend.ts';
export { LeastRequest } from './baselines/least-request.ts';
export { Lmetric } from './baselines/lmetric.ts';
export { Sglang } from './baselines/sglang.ts';
export type { SglangSettings } from './baselines/sglang.ts';
export { Sticky } from './baselines/sticky.ts';
export { DecodeChoice } from './decode-choice.ts';
export type { DecodeRequest } from './decode-choice.ts';
export { servedBy, Serves, servesAll } from './endpoint-role.ts';
export { explainPick } from './explain.ts';
export { hashText, mixPair, modelKeyOf } from './hash.ts';
export { KvLearned, KvPicker } from './kv/kv-picker.ts';
export type { KvPickRequest } from './kv/kv-picker.ts';
export { makePolicy, picksByPrompt } from './kv/kv-policies.ts';
export { emptyLoads } from './kv/kv-policy.ts';
export type { KvLoads, KvPolicy, KvRequest } from './kv/kv-policy.ts';
export { KvScore, kvScoreDefaults } from './kv/kv-score.ts';
export type { KvScoreSettings } from './kv/kv-score.ts';
export { PromptKeys } from './kv/prompt-keys.ts';
export { allFull, noneHealthy, pickEndpoint } from './pick.ts';
export { makePicker } from './pickers.ts';
export type { Picker, PickerContext } from './pickers.ts';
export { ModelFit } from './model-fit.ts';
export type { ModelWish } from './model-fit.ts';
export { openRule, PoolView } from './pool-view.ts';
export type { PickEndpoint, PickRequest, PickRule, PrefillRates } from './pool-view.ts';
export { addPending, givePending } from './pending-prompts.ts';
export type { PendingPrompt } from './pending-prompts.ts';
export type { PromptSize, TokenRatio } from './kv/token-ratio.ts';
export { Loading, Residents } from './residents.ts';
export type { LoadingRequest } from './residents.ts';
export { Rendezvous } from './rendezvous.ts';
export { ReplicaLimiter } from './kv/replica-limiter.ts';
export { TriedEndpoints } from './tried-endpoints.ts';
