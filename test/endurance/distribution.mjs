/** Percentiles of few values, exactly. */

/** @param {readonly number[]} values */
export function percentilesOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (/** @type {number} */ ratio) => sorted[Math.max(0, Math.ceil(ratio * sorted.length) - 1)] ?? 0;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** @param {ReturnType<typeof percentilesOf>} of */
export function percentilesText({ count, p50, p99, max }) {
  return `p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}, max ${max.toFixed(2)} ms of ${count}`;
}
