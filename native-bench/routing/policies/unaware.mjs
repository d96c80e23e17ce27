/** Policies that know nothing of caches. */

/** @type {import('./index.mjs').Policy} */
export const roundRobin = {
  name: 'round_robin',
  create: () => {
    let turn = 0;
    return { choose: ({ candidates, count }) => candidates[turn++ % count] };
  },
};

/** @type {import('./index.mjs').Policy} */
export const random = {
  name: 'random',
  create: ({ draw }) => ({ choose: ({ candidates, count }) => candidates[draw.below(count)] }),
};

/** The better of two drawn at random. @type {import('./index.mjs').Policy} */
export const powerOfTwo = {
  name: 'p2c',
  create: ({ draw }) => ({
    choose: ({ candidates, count, view }) => {
      const first = draw.below(count);
      const second = (first + 1 + draw.below(Math.max(1, count - 1))) % count;
      const { inflight } = view.loads;
      return inflight[candidates[first]] <= inflight[candidates[second]] ? candidates[first] : candidates[second];
    },
  }),
};
