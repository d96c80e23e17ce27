/**
 * Percentile plot as HDR histograms are usually drawn: each step to the right is one nine more, so that the tail has as
 * much room as the middle. Latency is logarithmic too, since a tail is often a hundred times the median.
 */
import { escaped, line, text } from './svg.mjs';

const width = 900;
const height = 480;
const plot = { left: 70, right: 200, top: 50, bottom: 50 };
const colours = ['#1b6ca8', '#c8553d', '#3c7a3f', '#8a5aa8', '#8a6d1b', '#444444'];

/**
 * @param {string} title
 * @param {string} subtitle
 * @param {{ name: string, points: [number, number][] }[]} series [percentile 0..100, ms]
 */
export function percentileSvg(title, subtitle, series) {
  const drawn = series.filter(({ points }) => points.length > 1);
  const ninesMax = Math.max(1, ...drawn.flatMap(({ points }) => points.map(([percentile]) => nines(percentile))));
  // Below 0.01 ms nothing is told apart.
  const values = drawn.flatMap(({ points }) => points.map(([, ms]) => Math.max(0.01, ms)));
  const low = Math.floor(Math.log10(Math.min(...values, 1)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 1))));
  const x = (/** @type {number} */ percentile) =>
    plot.left + (nines(percentile) / ninesMax) * (width - plot.left - plot.right);
  const y = (/** @type {number} */ ms) =>
    height - plot.bottom - ((Math.log10(Math.max(0.01, ms)) - low) / (high - low)) * (height - plot.top - plot.bottom);

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${plot.left}" y="22" font-size="16">${escaped(title)}</text>`,
    `<text x="${plot.left}" y="40" fill="#555555">${escaped(subtitle)}</text>`,
  ];
  for (const percentile of [0, 50, 90, 99, 99.9, 99.99, 99.999].filter((value) => nines(value) <= ninesMax + 1e-9)) {
    parts.push(line(x(percentile), plot.top, x(percentile), height - plot.bottom));
    parts.push(text(x(percentile), height - plot.bottom + 18, 'middle', `${percentile} %`));
  }
  for (let power = low; power <= high; power++) {
    parts.push(line(plot.left, y(10 ** power), width - plot.right, y(10 ** power)));
    parts.push(text(plot.left - 8, y(10 ** power) + 4, 'end', `${Number((10 ** power).toPrecision(1))} ms`));
  }
  for (const [index, { name, points }] of drawn.entries()) {
    const colour = colours[index % colours.length];
    const path = points.map(([percentile, ms]) => `${x(percentile).toFixed(1)},${y(ms).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const legendY = plot.top + 16 + index * 20;
    const legendX = width - plot.right + 16;
    parts.push(`<rect x="${legendX}" y="${legendY - 10}" width="12" height="12" fill="${colour}"/>`);
    parts.push(text(legendX + 18, legendY, 'start', name));
  }
  return `${parts.join('\n')}\n</svg>\n`;
}

/** 0 for the minimum, 1 for 90 %, 2 for 99 %. @param {number} percentile */
function nines(percentile) {
  return -Math.log10(1 - percentile / 100);
}
