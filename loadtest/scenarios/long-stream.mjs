import { chatRequest } from '../bodies.mjs';
import { runLongStreamPhase } from '../phases/long-streams.mjs';

/** Slow enough that a hundred streams are no load by themselves: time is what is tested. */
const tokensPerSecond = 20;

/**
 * Answers that take minutes.
 * @type {import('../types.d.ts').Scenario}
 */
export const longStream = {
  name: 'long-stream',
  summary: 'a hundred streams that run for minutes: TTFT, gaps, and whether any is cut short',
  engines: { speed: 1, flags: ['--decode-rate', String(tokensPerSecond)] },
  durationS: 120,
  connections: 100,
  rate: 0,
  rateMin: 0,
  notes: [
    '--connections are streams; all are open at once, and --duration is how long they last.',
    `Gaps are the engine's pace, ${tokensPerSecond} tokens a second less what a full batch costs it, plus what the gateway adds.`,
    'TTFT is of a hundred streams started in turn, one value each: a shape, not a percentile to compare.',
    'A stream passes when its last usage tells as many tokens as were asked for and its text is that of its siblings.',
  ],
  buildRequests: (model) => [1, 2].map((seed) => chatRequest({ model, bytes: 3000, seed, tokens: 4, isStream: true })),
  measure: async (context) => [await runLongStreamPhase(context, tokensPerSecond)],
};
