import { chatRequest } from '../bodies.mjs';
import { runAutocannonPhase } from '../phases/autocannon.mjs';

/**
 * The common small chat: what the gateway costs when bytes cost nothing.
 * @type {import('../types.d.ts').Scenario}
 */
export const chat3kb = {
  name: 'chat-3kb',
  summary: 'chats of 3 KB, answered whole; what one request costs the gateway',
  engines: { speed: 0 },
  durationS: 10,
  connections: 8,
  rate: 300,
  rateMin: 0,
  notes: [
    'autocannon sends what is due in a second at its start, as fast as its connections get answers: latency is that of so many at once.',
    'Latency includes the simulated engine, which parses and tokenises each body: compare runs, not with zero.',
  ],
  buildRequests: (model) =>
    [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 16, isModelLast: seed % 2 === 0 })),
  measure: async (context) => [await runAutocannonPhase({ ...context, ...context.settings, name: 'autocannon' })],
};
