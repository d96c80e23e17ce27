import { chatRequest } from '../bodies.mjs';
import { rotated } from './order.mjs';

/**
 * Token streams at the pace of a real engine.
 * @type {import('../types.d.ts').Scenario}
 */
export const stream = {
  name: 'stream',
  summary: 'token streams at real pace; requests a second, then TTFT and token gaps from an open-loop client',
  engineSpeed: 1,
  connections: 16,
  rate: 20,
  notes: [
    "TTFT and gaps are the engine's pace plus what the gateway adds; run again with --url on an engine for the difference.",
    'The open-loop client counts from the instant a stream was due, so a late timer (send_lag) is part of its TTFT.',
  ],
  buildRequests: (model) =>
    [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 64, isStream: true })),
  requestsOf: rotated,
  hasOpenLoop: true,
};
