import { chatRequest } from '../bodies.mjs';
import { runAutocannonPhase } from '../phases/autocannon.mjs';

/**
 * Long contexts: where copies and scans show.
 * @type {import('../types.d.ts').Scenario}
 */
export const chat3mb = {
  name: 'chat-3mb',
  summary: 'chats of 3 MB, the model named first and last in turn; what a byte costs the gateway',
  engines: { speed: 0 },
  durationS: 10,
  connections: 4,
  rate: 10,
  rateMin: 0,
  notes: [
    'autocannon costs far more CPU on 3 MB bodies than a native generator, and the simulated engines more still: the ' +
      'request rate is no ceiling of the gateway. The CPU lines show who was busy; compare CPU per request.',
    'autocannon sends what is due in a second at its start, as fast as its connections get answers: latency is that of so many at once.',
    'Latency includes the simulated engine, which hashes, parses and tokenises 3 MB: compare runs, not with zero.',
  ],
  buildRequests: (model) =>
    [false, true].map((isModelLast) => chatRequest({ model, bytes: 3_000_000, seed: 1, tokens: 16, isModelLast })),
  measure: async (context) => [await runAutocannonPhase({ ...context, ...context.settings, name: 'autocannon' })],
};
