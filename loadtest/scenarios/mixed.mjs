import { chatRequest } from '../bodies.mjs';
import { bytesAt } from '../conversation.mjs';
import { runConversationPhase } from '../phases/conversations.mjs';

/**
 * Agents at work: each conversation comes back with nearly the same long context.
 * @type {import('../types.d.ts').Scenario}
 */
export const mixed = {
  name: 'mixed',
  summary: 'agents: bodies 0.8 MB p50, 2.1 MB p90, 3.4 MB p99, 99 % shared prefix a conversation, 2 s between turns',
  engines: { speed: 0 },
  durationS: 20,
  connections: 16,
  rate: 0,
  rateMin: 0,
  notes: [
    '--connections are conversations; how often they ask is theirs, and --rate means nothing here.',
    'Generator and engines cost more CPU than the gateway on bodies of megabytes: the request rate is no ceiling of it.',
    'Latency counts from the instant a turn was due and includes the simulated engine, which hashes, parses and tokenises each body: compare runs, not with zero.',
    'The engine answers at once: what a shared prefix saves there is not in these figures, only what it costs to bring it.',
  ],
  /** For the warm-up; the conversations write their own. */
  buildRequests: (model) =>
    [0.25, 0.5, 0.9].flatMap((quantile, index) =>
      [false, true].map((isStream) =>
        chatRequest({ model, bytes: bytesAt(quantile), seed: index + 1, tokens: 16, isStream, isModelLast: isStream }),
      ),
    ),
  measure: async (context) => [await runConversationPhase(context)],
};
