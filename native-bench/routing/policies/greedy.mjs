/** Least time to the first token, without a charge for what that does to others. */

/** @type {import('./index.mjs').Policy} */
export const greedy = {
  name: 'greedy TTFT',
  create: ({ draw }) => ({
    choose: ({ spec, matched, candidates, count, view }) => {
      const { pendingTokens } = view.loads;
      let best = -1;
      let bestCost = Number.POSITIVE_INFINITY;
      const start = draw.below(count);
      for (let index = 0; index < count; index++) {
        const endpoint = candidates[(index + start) % count];
        const cost = Math.max(1, spec.promptTokens - matched[endpoint]) + pendingTokens[endpoint];
        if (cost < bestCost) {
          best = endpoint;
          bestCost = cost;
        }
      }
      return best;
    },
  }),
};
