import { chatRequest } from '../bodies.mjs';
import { runAbortPhase } from '../phases/aborts.mjs';

/**
 * Clients that leave.
 * @type {import('../types.d.ts').Scenario}
 */
export const abortStorm = {
  name: 'abort-storm',
  summary: 'four clients in five leave while uploading, waiting or streaming; the fifth must not notice',
  engines: { speed: 1 },
  durationS: 10,
  connections: 8,
  rate: 60,
  rateMin: 1,
  notes: [
    '--rate is of all clients together. Figures are of those that stay; of the others only counts are told.',
    "The gateway's CPU is what all of them cost it, divided by those that stay.",
    "TTFT and gaps are the engine's pace under prefills that nobody waits for, plus what the gateway adds.",
    'An engine does not see a client that leaves while uploading, when its request was not routed yet.',
  ],
  buildRequests: (model) =>
    [1, 2, 3].map((seed) => chatRequest({ model, bytes: 30_000, seed, tokens: 64, isStream: true })),
  measure: async (context) => [await runAbortPhase(context)],
};
