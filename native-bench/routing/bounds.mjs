/**
 * Yardsticks: the tokens that one cache, of all endpoints' sizes together and without copies, would have hit on the same
 * requests in the same order. B0 has no end, and no router can pass it. B1 evicts the longest unused, which is not the best
 * that could be evicted: several small caches may come out ahead of it.
 */
import { KvBlocks } from './kv-blocks.mjs';
import { warmShare } from './measures.mjs';
import { blockName } from './request.mjs';

/**
 * @param {readonly import('./request.mjs').Spec[]} specs in the order of their arrival
 * @param {import('./workloads/index.mjs').Workload} workload
 * @param {number} endpointCount
 */
export function boundsOf(specs, workload, endpointCount) {
  const pooled = Math.floor((workload.profile.kvTokens * endpointCount) / workload.blockTokens);
  return {
    infinite: hitOf(specs, workload, workload.nameCount + 1, warmShare),
    pooled: hitOf(specs, workload, Math.min(pooled, workload.nameCount + 1), warmShare),
  };
}

/**
 * Share of prompt tokens that a cache of `blockCount` blocks hits.
 * @param {readonly import('./request.mjs').Spec[]} specs
 * @param {import('./workloads/index.mjs').Workload} workload
 * @param {number} blockCount
 * @param {number} uncounted share of the requests that only warm it
 */
export function hitOf(specs, { blockTokens, nameCount }, blockCount, uncounted = 0) {
  const cache = new KvBlocks(blockCount, nameCount);
  const from = Math.floor(specs.length * uncounted);
  let hitTokens = 0;
  let promptTokens = 0;
  for (const [index, spec] of specs.entries()) {
    const hitMax = Math.floor((spec.promptTokens - 1) / blockTokens);
    let hit = 0;
    while (hit < hitMax && cache.isCached(blockName(spec, hit))) hit++;
    const count = Math.floor((spec.promptTokens + spec.outputTokens) / blockTokens);
    let held = 0;
    for (; held < count && (cache.availableCount > 0 || cache.isCached(blockName(spec, held))); held++) {
      if (cache.isCached(blockName(spec, held))) {
        cache.use(blockName(spec, held));
      } else {
        cache.take();
        cache.name(blockName(spec, held));
      }
    }
    for (let block = held - 1; block >= 0; block--) cache.give(blockName(spec, block));
    if (index < from) continue;
    hitTokens += hit * blockTokens;
    promptTokens += spec.promptTokens;
  }
  return hitTokens / promptTokens;
}
