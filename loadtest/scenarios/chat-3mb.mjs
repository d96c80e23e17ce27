import { chatRequest } from '../bodies.mjs';
import { rotated } from './order.mjs';

/**
 * Long contexts: where copies and scans show.
 * @type {import('../types.d.ts').Scenario}
 */
export const chat3mb = {
  name: 'chat-3mb',
  summary: 'chats of 3 MB, the model named first and last in turn; what a byte costs the gateway',
  engineSpeed: 0,
  connections: 4,
  rate: 10,
  notes: [
    'autocannon costs far more CPU on 3 MB bodies than a native generator, and the simulated engines more still: the ' +
      'request rate is no ceiling of the gateway. The CPU lines show who was busy; compare CPU per request.',
    'Latency includes the simulated engine, which hashes, parses and tokenises 3 MB: compare runs, not with zero.',
  ],
  buildRequests: (model) =>
    [false, true].map((isModelLast) => chatRequest({ model, bytes: 3_000_000, seed: 1, tokens: 16, isModelLast })),
  requestsOf: rotated,
  hasOpenLoop: false,
};
