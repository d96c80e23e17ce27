import { bench, do_not_optimize, run } from 'mitata';
import { KvScore } from './kv-score.ts';
import { emptyLoads } from './kv-policy.ts';

// One choice among 8 and 64 endpoints, when two of them hold most of the prompt and when nobody does.
for (const endpointCount of [8, 64]) {
  const loads = emptyLoads(endpointCount);
  loads.pendingTokens.fill(3000);
  loads.inflight.fill(20);
  loads.kvUsageRatio.fill(0.6);
  loads.prefillRate.fill(20_000);
  const hashes = Array.from({ length: endpointCount }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
  const candidates = Int32Array.from(hashes.keys());
  const score = new KvScore(hashes);
  const warm = {
    promptTokens: 7200,
    matchedTokens: new Int32Array(endpointCount),
    root: 7,
    branch: 9,
    loadKey: 0,
    isLoaded: false,
  };
  warm.matchedTokens[1] = 7000;
  warm.matchedTokens[5] = 6000;
  const cold = {
    promptTokens: 7200,
    matchedTokens: new Int32Array(endpointCount),
    root: 8,
    branch: 8,
    loadKey: 0,
    isLoaded: false,
  };
  let nowMs = 0;
  bench(`warm prompt, ${endpointCount} endpoints`, () =>
    do_not_optimize(score.choose(loads, warm, candidates, endpointCount, nowMs++)));
  bench(`cold prompt, ${endpointCount} endpoints`, () =>
    do_not_optimize(score.choose(loads, cold, candidates, endpointCount, nowMs++)));
}
await run();
