import { chatRequest } from '../bodies.mjs';
import { runAutocannonPhase } from '../phases/autocannon.mjs';
import { runStreamPhase } from '../phases/streams.mjs';

/**
 * Token streams at the pace of a real engine.
 * @type {import('../types.d.ts').Scenario}
 */
export const stream = {
  name: 'stream',
  summary: 'token streams at real pace; requests a second, then TTFT and token gaps from an open-loop client',
  engines: { speed: 1 },
  durationS: 10,
  connections: 16,
  rate: 20,
  rateMin: 1,
  notes: [
    "TTFT and gaps are the engine's pace plus what the gateway adds; run again with --url on an engine for the difference.",
    'The open-loop client counts from the instant a stream was due, so a late timer (send_lag) is part of its TTFT.',
  ],
  buildRequests: (model) =>
    [1, 2, 3, 4].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 64, isStream: true })),
  measure: async (context) => {
    const { connections, rate } = context.settings;
    const durationS = context.settings.durationS / 2;
    return [
      await runAutocannonPhase({ ...context, connections, rate: 0, durationS, name: 'autocannon' }),
      await runStreamPhase({ ...context, rate, durationS, name: 'open-loop' }),
    ];
  },
};
