/** What is read off a run. The first tenth of the requests only warms the caches. */
import { quantile } from '../stats.mjs';

export const warmShare = 0.1;

/**
 * @typedef {object} Measures
 * @property {number} hit prompt tokens found in the cache, of all
 * @property {number} ttftMean seconds
 * @property {number} ttftP50
 * @property {number} ttftP90
 * @property {number} ttftP99
 * @property {number} mispredicted prompt tokens by which router and engine differed, of all
 * @property {number} preemptions per thousand requests
 * @property {number} busiest share of time of the busiest engine over the mean
 * @property {number} requests
 */

/** @param {import('./simulation.mjs').Run} run @param {number} uncounted share of the requests @returns {Measures} */
export function measuresOf({ flights, preemptionCount, busyRatios }, uncounted = warmShare) {
  const counted = flights.filter(({ ttftMs }) => ttftMs >= 0).slice(Math.floor(flights.length * uncounted));
  const ttft = counted.map(({ ttftMs }) => ttftMs / 1000).sort((a, b) => a - b);
  const sum = (/** @type {(flight: import('./view.mjs').Flight) => number} */ of) =>
    counted.reduce((total, flight) => total + of(flight), 0);
  const promptTokens = sum(({ spec }) => spec.promptTokens);
  const busyMean = busyRatios.reduce((total, ratio) => total + ratio, 0) / busyRatios.length;
  return {
    hit: sum(({ hitTokens }) => hitTokens) / promptTokens,
    ttftMean: ttft.reduce((total, seconds) => total + seconds, 0) / ttft.length,
    ttftP50: quantile(ttft, 0.5),
    ttftP90: quantile(ttft, 0.9),
    ttftP99: quantile(ttft, 0.99),
    mispredicted: sum(({ matchedTokens, hitTokens }) => Math.abs(matchedTokens - hitTokens)) / promptTokens,
    preemptions: (preemptionCount / flights.length) * 1000,
    busiest: Math.max(...busyRatios) / busyMean,
    requests: counted.length,
  };
}

/** Means of each measure over several seeds. @param {readonly Measures[]} all @returns {Measures} */
export function meanOf(all) {
  const names = /** @type {(keyof Measures)[]} */ (Object.keys(all[0]));
  const entries = names.map((name) => [name, all.reduce((sum, one) => sum + one[name], 0) / all.length]);
  return Object.fromEntries(entries);
}
