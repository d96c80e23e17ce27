import { chatRequest } from '../bodies.mjs';
import { runOverloadPhases } from '../phases/overload.mjs';

/**
 * As overload, but nobody has told the gateway what an engine can do: the engines say when they have enough.
 * @type {import('../types.d.ts').Scenario}
 */
export const engineOverload = {
  name: 'engine-overload',
  summary: 'as overload, without inflight_max: engines that run 8 at once say when more wait (queue.saturated_at)',
  engines: { speed: 1, flags: ['--max-seqs', '8'] },
  poolSettings: 'queue: { requests_max: 24, wait_ms: 1s, saturated_at: { waiting: 2 } }',
  durationS: 32,
  connections: 32,
  rate: 0,
  rateMin: 0,
  notes: [
    '--connections are requests under way while capacity is measured; --rate means nothing here.',
    'Without saturated_at the engines take everything, and at 3x a third of what they could serve comes in time.',
    'A refusal with 503 or 429 and retry-after is a right answer; the run fails where less than 90 % of the best is served within 2 s, or with refusals slower than 50 ms at p99.',
  ],
  buildRequests: (model) => [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 16 })),
  measure: runOverloadPhases,
};
