/** Rendezvous hashing of the prompt's first 4 KiB with bounded load: nobody takes over 1.25 times the mean. */
import { mixPair } from '../../../dist/pick/index.js';

const loadBound = 1.25;

/** @type {import('./index.mjs').Policy} */
export const consistentHash = {
  name: 'consistent_hash',
  create: () => ({
    choose: ({ candidates, count, view, keys }) => {
      const { inflight } = view.loads;
      let total = 1;
      for (let turn = 0; turn < count; turn++) total += inflight[candidates[turn]];
      const bound = Math.ceil((total / count) * loadBound);
      let best = -1;
      let bestWeight = -1;
      for (let turn = 0; turn < count; turn++) {
        const endpoint = candidates[turn];
        const weight = mixPair(keys.root, endpointHash(endpoint));
        if (weight > bestWeight && inflight[endpoint] < bound) {
          best = endpoint;
          bestWeight = weight;
        }
      }
      return best;
    },
  }),
};

/** As if of its URL. @param {number} endpoint */
export function endpointHash(endpoint) {
  return mixPair(endpoint + 1, 0x2545f491);
}
