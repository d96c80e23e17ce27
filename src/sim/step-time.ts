/**
 * How long one engine step takes:
 *
 *     t[ms] = base + a * prefillTokens + d * sum(prefill_i * context_i) + c * sum(decode contexts) + b * decodeCount
 *
 * All sequences of a step advance together, so one long prefill chunk delays every decode: that is where spikes between
 * tokens come from on a real server. Fitted constants: see `simDefaults`.
 */
import { Phase } from './sequence.ts';
import type { Sequence } from './sequence.ts';
import type { SimSettings } from './options.ts';

export type StepTimeSettings = Pick<
  SimSettings,
  | 'prefillTokensPerSecond'
  | 'decodeTokensPerSecond'
  | 'decodeMsPerSequence'
  | 'decodeMsPerContextToken'
  | 'prefillMsPerTokenPair'
>;

/** Duration at speed 1 of a step over the sequences that have `scheduledCount` above 0. */
export function stepMs(running: readonly Sequence[], settings: StepTimeSettings): number {
  let prefillTokens = 0;
  let tokenPairs = 0;
  let decodeCount = 0;
  let decodeContext = 0;
  for (const sequence of running) {
    const scheduled = sequence.scheduledCount;
    if (scheduled === 0) continue;
    if (sequence.phase === Phase.decode) {
      decodeCount++;
      decodeContext += sequence.tokenCount;
    } else {
      prefillTokens += scheduled;
      // Each token attends to what is cached and, on average, to half of its own chunk.
      tokenPairs += scheduled * (sequence.computedCount + scheduled / 2);
    }
  }
  return (
    1000 / settings.decodeTokensPerSecond +
    (1000 * prefillTokens) / settings.prefillTokensPerSecond +
    settings.prefillMsPerTokenPair * tokenPairs +
    settings.decodeMsPerContextToken * decodeContext +
    settings.decodeMsPerSequence * decodeCount
  );
}
