import { chatRequest } from '../bodies.mjs';
import { runOverloadPhases } from '../phases/overload.mjs';

/**
 * What there is room for, and up to three times as much, for long.
 * @type {import('../types.d.ts').Scenario}
 */
export const overload = {
  name: 'overload',
  summary: 'what the pool can serve, then 1, 1.5 and 3 times as much: goodput, and how fast the others are refused',
  engines: { speed: 1 },
  // 24 at once for about 0.15 s each, and as many waiting as are served in that time.
  poolSettings: 'inflight_max: 8\n    queue: { requests_max: 24, wait_ms: 1s }',
  durationS: 32,
  connections: 32,
  rate: 0,
  rateMin: 0,
  notes: [
    '--connections are requests under way while capacity is measured; --rate means nothing here.',
    'It is the pool that is overloaded, as fleets of GPUs are; the gateway has CPU to spare.',
    'A refusal with 503 or 429 and retry-after is a right answer; the run fails where less than 90 % of the best is served within 2 s, or with refusals slower than 50 ms at p99.',
  ],
  buildRequests: (model) => [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 16 })),
  measure: runOverloadPhases,
};
