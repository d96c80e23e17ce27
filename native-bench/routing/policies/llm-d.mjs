/**
 * llm-d's two: the weighted blend of scorers (prefix 3, queue 2, free KV 2), with the engines' metrics as they are this very
 * moment, and sticky until saturated (2026-08-17).
 */
import { prefillRate } from '../profiles.mjs';

/** @type {import('./index.mjs').Policy} */
export const blend = {
  name: 'llm-d blend 3/2/2',
  create: ({ engines, draw }) => ({
    choose: ({ spec, matched, candidates, count }) => {
      let most = 0;
      let fewest = Number.POSITIVE_INFINITY;
      for (let index = 0; index < count; index++) {
        most = Math.max(most, engines[candidates[index]].waitingCount);
        fewest = Math.min(fewest, engines[candidates[index]].waitingCount);
      }
      let best = -1;
      let bestScore = -1;
      const start = draw.below(count);
      for (let index = 0; index < count; index++) {
        const endpoint = candidates[(index + start) % count];
        const engine = engines[endpoint];
        const queue = most === fewest ? 1 : (most - engine.waitingCount) / (most - fewest);
        const score = (3 * matched[endpoint]) / spec.promptTokens + 2 * queue + 2 * (1 - engine.kvUsageRatio);
        if (score > bestScore) {
          best = endpoint;
          bestScore = score;
        }
      }
      return best;
    },
  }),
};

const affinity = 0.8;
/** Longest wait, in seconds of prefill, that stickiness is worth. */
const tauSeconds = 14;

/** @type {import('./index.mjs').Policy} */
export const sticky = {
  name: 'sticky until saturated',
  create: ({ workload, draw }) => {
    const tau = prefillRate(workload.profile) * tauSeconds;
    return {
      choose: ({ spec, matched, candidates, count, view }) => {
        const { pendingTokens } = view.loads;
        let warm = -1;
        let any = -1;
        const start = draw.below(count);
        for (let index = 0; index < count; index++) {
          const endpoint = candidates[(index + start) % count];
          if (any < 0 || pendingTokens[endpoint] < pendingTokens[any]) any = endpoint;
          if (matched[endpoint] < affinity * spec.promptTokens) continue;
          if (warm < 0 || pendingTokens[endpoint] < pendingTokens[warm]) warm = endpoint;
        }
        return warm >= 0 && pendingTokens[warm] - pendingTokens[any] <= tau ? warm : any;
      },
    };
  },
};
