/** Deterministic random numbers: a run is told by its seed. */

/**
 * Mulberry32: 32 bits of state, good enough to mix a load.
 * @param {number} seed
 * @returns {() => number} in [0, 1)
 */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** @param {() => number} random @param {number} low @param {number} high included */
export function wholeBetween(random, low, high) {
  return low + Math.floor(random() * (high - low + 1));
}

/** As likely to lie in each power of two. @param {() => number} random @param {number} low @param {number} high */
export function sizeBetween(random, low, high) {
  return Math.round(low * (high / low) ** random());
}

/**
 * One of the names, as often as its weight says.
 * @template {string} Name
 * @param {() => number} random
 * @param {Readonly<Record<Name, number>>} weights
 * @returns {Name}
 */
export function oneOf(random, weights) {
  const rows = /** @type {[Name, number][]} */ (Object.entries(weights));
  let left = random() * rows.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [name, weight] of rows) {
    left -= weight;
    if (left < 0) return name;
  }
  return /** @type {[Name, number]} */ (rows.at(-1))[0];
}
