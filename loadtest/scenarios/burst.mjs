import { chatRequest } from '../bodies.mjs';
import { runBurstPhase } from '../phases/bursts.mjs';

/**
 * More than there is room for, for a second.
 * @type {import('../types.d.ts').Scenario}
 */
export const burst = {
  name: 'burst',
  summary: 'a quiet rate, then ten times as much for 1 s, again and again: latency, refusals, time to recover',
  engines: { speed: 1 },
  // 24 at once for about 0.15 s each: between the quiet rate and the burst.
  poolSettings: 'inflight_max: 8\n    queue: { requests_max: 64, wait_ms: 1s }',
  durationS: 20,
  connections: 8,
  rate: 40,
  rateMin: 1,
  notes: [
    '--rate is the quiet rate; the pool is limited so that the burst is more than it takes (8 in flight an endpoint, 64 waiting, 1 s).',
    "Latency is the engine's plus the wait for a place. Where it is high, that is the limit at work and no cost of the gateway's.",
    'A refusal with 503 or 429 and retry-after is a right answer here; any other failure fails the run.',
    'Recovery counts from the end of a burst to the end of the last request that was refused, or took twice the quiet median.',
  ],
  buildRequests: (model) => [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 16 })),
  measure: async (context) => [await runBurstPhase(context)],
};
