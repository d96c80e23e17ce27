/** Whether something grows: a slope, and how far it can be believed. */

/** Two-sided 95 % of Student's t by degrees of freedom; beyond the table the normal distribution's. */
const tTable = [
  12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1, 2.09, 2.09,
];

/** @param {number} degrees */
function t95(degrees) {
  return tTable[Math.max(0, Math.ceil(degrees) - 1)] ?? 1.96 + 2.5 / degrees;
}

/**
 * Memory of one moment resembles that of the moment before, so samples are no independent witnesses. They are taken together
 * in blocks; of each block the lowest value counts, because what lies above it are bodies that were just passing through and
 * garbage that was not collected yet. The interval of the line through these is widened by what resemblance is left between neighbours
 * (n(1-r)/(1+r) effective blocks, r the first autocorrelation of the residuals where that is positive).
 *
 * @param {readonly (readonly [x: number, y: number])[]} points in order
 * @param {number} blockCount
 * @returns {import('./types.d.ts').Slope}
 */
export function slopeOf(points, blockCount = 20) {
  const blocks = blockFloors(points, Math.min(blockCount, points.length));
  const n = blocks.length;
  if (n < 4) return { slope: 0, halfWidth: Infinity, blockCount: n };
  const meanX = blocks.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = blocks.reduce((sum, [, y]) => sum + y, 0) / n;
  let spreadX = 0;
  let together = 0;
  for (const [x, y] of blocks) {
    spreadX += (x - meanX) ** 2;
    together += (x - meanX) * (y - meanY);
  }
  if (spreadX === 0) return { slope: 0, halfWidth: Infinity, blockCount: n };
  const slope = together / spreadX;
  const residuals = blocks.map(([x, y]) => y - meanY - slope * (x - meanX));
  const squares = residuals.reduce((sum, residual) => sum + residual ** 2, 0);
  let neighbours = 0;
  for (let index = 1; index < n; index++) neighbours += (residuals[index] ?? 0) * (residuals[index - 1] ?? 0);
  const r = squares === 0 ? 0 : Math.min(0.9, Math.max(0, neighbours / squares));
  const effective = Math.max(3, (n * (1 - r)) / (1 + r));
  const error = Math.sqrt(squares / Math.max(1, effective - 2) / spreadX);
  return { slope, halfWidth: t95(effective - 2) * error, blockCount: n };
}

/** @param {readonly (readonly [number, number])[]} points @param {number} blockCount @returns {[number, number][]} */
function blockFloors(points, blockCount) {
  /** @type {[number, number][]} */
  const blocks = [];
  for (let block = 0; block < blockCount; block++) {
    const part = points.slice(
      Math.floor((block * points.length) / blockCount),
      Math.floor(((block + 1) * points.length) / blockCount),
    );
    if (part.length === 0) continue;
    blocks.push([part.reduce((sum, [x]) => sum + x, 0) / part.length, Math.min(...part.map(([, y]) => y))]);
  }
  return blocks;
}
