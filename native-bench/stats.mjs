/** Few values, honestly: the median, and the middle half as the spread. */

/**
 * Linear between the two nearest values. NaN when there are none.
 * @param {readonly number[]} values
 * @param {number} q 0..1
 */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/**
 * @param {readonly number[]} values
 * @returns {import('./types.d.ts').Spread}
 */
export function spreadOf(values) {
  return { median: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75) };
}

/**
 * Values of one metric over the rounds, in their order.
 * @param {import('./types.d.ts').PeerResult} result
 * @param {string} metric
 */
export function valuesOf({ rounds }, metric) {
  return rounds.flatMap(({ metrics }) => {
    const value = metrics[metric];
    return value === undefined ? [] : [value];
  });
}

/**
 * Median of one metric; null when it was not measured.
 * @param {import('./types.d.ts').PeerResult} result
 * @param {string} metric
 */
export function medianOf(result, metric) {
  const values = valuesOf(result, metric);
  return result.failure !== null || values.length === 0 ? null : quantile(values, 0.5);
}
