/** Least cost, by formulas without an externality: LMetric (uncached tokens times load), and greedy time to first token. */

/** @param {string} name @param {(uncached: number, pending: number, inflight: number) => number} costOf @returns {import('./index.mjs').Policy} */
function leastCost(name, costOf) {
  return {
    name,
    create: ({ draw }) => ({
      choose: ({ spec, matched, candidates, count, view }) => {
        const { pendingTokens, inflight } = view.loads;
        let best = -1;
        let bestCost = Number.POSITIVE_INFINITY;
        const start = draw.below(count);
        for (let index = 0; index < count; index++) {
          const endpoint = candidates[(index + start) % count];
          const uncached = Math.max(1, spec.promptTokens - matched[endpoint]);
          const cost = costOf(uncached, pendingTokens[endpoint], inflight[endpoint]);
          if (cost < bestCost) {
            best = endpoint;
            bestCost = cost;
          }
        }
        return best;
      },
    }),
  };
}

export const lmetric = leastCost('lmetric', (uncached, _, inflight) => uncached * (inflight + 1));
export const greedy = leastCost('greedy TTFT', (uncached, pending) => uncached + pending);
