import { bench, do_not_optimize, run } from 'mitata';
import { Random } from '../../sim/random.ts';
import { makePolicy } from '../kv/kv-policies.ts';
import { emptyLoads } from '../kv/kv-policy.ts';
import { LeastRequest } from './least-request.ts';

// One choice of each policy among 16 and 256 endpoints of uneven load, of which two hold most of the prompt.
for (const endpointCount of [16, 256]) {
  const random = new Random(1);
  const draw = (): number => random.ratio();
  const loads = emptyLoads(endpointCount);
  loads.prefillRate.fill(20_000);
  for (let index = 0; index < endpointCount; index++) {
    loads.pendingTokens[index] = Math.floor(draw() * 9000);
    loads.inflight[index] = Math.floor(draw() * 40);
    loads.queueDepth[index] = Math.floor(draw() * 5);
    loads.kvUsageRatio[index] = draw();
  }
  const hashes = Array.from({ length: endpointCount }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
  const candidates = Int32Array.from(hashes.keys());
  const prompt = {
    promptTokens: 7200,
    matchedTokens: new Int32Array(endpointCount),
    root: 7,
    branch: 9,
    loadKey: 0,
    isLoaded: false,
  };
  prompt.matchedTokens[1] = 7000;
  prompt.matchedTokens[5] = 6000;
  let nowMs = 0;
  const leastRequest = new LeastRequest(endpointCount);
  bench(`least_request, ${endpointCount} endpoints`, () =>
    do_not_optimize(leastRequest.choose(loads, candidates, endpointCount)));
  for (const name of ['kv_aware', 'sglang', 'blend', 'sticky', 'lmetric']) {
    const policy = makePolicy(name, hashes, draw);
    bench(`${name}, ${endpointCount} endpoints`, () =>
      do_not_optimize(policy.choose(loads, prompt, candidates, endpointCount, nowMs++)));
  }
}
await run();
