import { chatRequest } from '../bodies.mjs';
import { runAutocannonPhase } from '../phases/autocannon.mjs';

/** Beyond any completion of today: files, images and audio come as base64 inside of the JSON. */
const responseBytes = 3_000_000;

/**
 * Long answers that are no streams: what a byte on the way back costs.
 * @type {import('../types.d.ts').Scenario}
 */
export const response3mb = {
  name: 'response-3mb',
  summary: 'short chats, answered with completions of 3 MB; what a byte on the way back costs the gateway',
  engines: { speed: 0 },
  durationS: 10,
  connections: 4,
  rate: 20,
  rateMin: 0,
  notes: [
    'autocannon decodes and checks each answer, which costs it many times what the gateway takes: compare CPU per request.',
    'autocannon sends what is due in a second at its start, as fast as its connections get answers: latency is that of so many at once.',
    'With --url it needs an engine that knows x-sim-completion-bytes.',
  ],
  buildRequests: (model) =>
    [1, 2].map((seed) => {
      const request = chatRequest({ model, bytes: 1024, seed, tokens: 16, isModelLast: seed % 2 === 0 });
      return { ...request, headers: { ...request.headers, 'x-sim-completion-bytes': String(responseBytes) } };
    }),
  measure: async (context) => [await runAutocannonPhase({ ...context, ...context.settings, name: 'autocannon' })],
};
