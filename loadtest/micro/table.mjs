/** One line a case. */
const nameWidth = 64;
const cellWidth = 12;

const cell = (/** @type {string} */ text) => text.padStart(cellWidth);

export const headLine = `${''.padEnd(nameWidth)}${['average', 'min', 'p50', 'p99', 'MB/s'].map(cell).join('')}\n`;

/** @param {import('../micro.mjs').CaseResult} result */
export function lineOf({ name, bytes, avg, min, p50, p99 }) {
  const times = [avg, min, p50, p99].map((ns) => cell(timeOf(ns)));
  // Bytes a ns are GB/s.
  const speed = bytes === 0 ? '' : cell(((bytes / avg) * 1000).toFixed(0));
  return `  ${name.padEnd(nameWidth - 2)}${times.join('')}${speed}\n`;
}

/** @param {number} ns */
function timeOf(ns) {
  if (ns < 1000) return `${ns.toFixed(2)} ns`;
  return ns < 1e6 ? `${(ns / 1000).toFixed(2)} us` : `${(ns / 1e6).toFixed(2)} ms`;
}
