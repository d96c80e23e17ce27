/** A line chart as SVG text, with either axis logarithmic. */
import { escaped, line, text } from '../loadtest/svg.mjs';

const width = 900;
const height = 480;
const plot = { left: 80, right: 190, top: 54, bottom: 54 };
const linearTickCount = 5;
/**
 * By name, so that a peer has one colour in every chart.
 * @type {Record<string, string>}
 */
const colourOf = {
  direct: '#999999',
  penstock: '#1b6ca8',
  'penstock-2': '#5fa8dc',
  haproxy: '#c8553d',
  'haproxy-2': '#8f3a28',
  'haproxy-body': '#e0958a',
  nginx: '#a3c585',
  'nginx-unbuffered': '#3c7a3f',
  'nginx-unbuffered-2': '#1f4a22',
  envoy: '#8a5aa8',
  undici: '#8a6d1b',
  'http-proxy': '#c9a227',
  'fastify-http-proxy': '#d98cb3',
  portkey: '#222222',
};

/** For names that are no peers. */
const otherColours = [
  '#999999',
  '#c9a227',
  '#3c7a3f',
  '#c8553d',
  '#8a5aa8',
  '#a3c585',
  '#d98cb3',
  '#8a6d1b',
  '#222222',
  '#5fa8dc',
];

/** @typedef {{ name: string, isLog: boolean, format: (value: number) => string }} Axis */

/**
 * @param {{ title: string, subtitle: string, series: readonly { name: string, points: readonly [number, number][] }[],
 *   xAxis: Axis, yAxis: Axis }} chart
 */
export function lineChartSvg({ title, subtitle, series, xAxis, yAxis }) {
  const drawn = series.filter(({ points }) => points.length > 1);
  const x = scaleOf(
    xAxis,
    drawn.flatMap(({ points }) => points.map(([value]) => value)),
    plot.left,
    width - plot.right,
  );
  const y = scaleOf(
    yAxis,
    drawn.flatMap(({ points }) => points.map(([, value]) => value)),
    height - plot.bottom,
    plot.top,
  );
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${plot.left}" y="22" font-size="16">${escaped(title)}</text>`,
    `<text x="${plot.left}" y="40" fill="#555555">${escaped(subtitle)}</text>`,
  ];
  for (const tick of x.ticks) {
    parts.push(line(x.at(tick), plot.top, x.at(tick), height - plot.bottom));
    parts.push(text(x.at(tick), height - plot.bottom + 18, 'middle', xAxis.format(tick)));
  }
  for (const tick of y.ticks) {
    parts.push(line(plot.left, y.at(tick), width - plot.right, y.at(tick)));
    parts.push(text(plot.left - 8, y.at(tick) + 4, 'end', yAxis.format(tick)));
  }
  parts.push(text((plot.left + width - plot.right) / 2, height - 10, 'middle', xAxis.name));
  parts.push(text(plot.left - 8, plot.top - 8, 'end', yAxis.name));
  for (const [index, { name, points }] of drawn.entries()) {
    const colour = colourOf[name] ?? otherColours[index % otherColours.length];
    const path = points.map(([a, b]) => `${x.at(a).toFixed(1)},${y.at(b).toFixed(1)}`).join(' ');
    const strokeWidth = name === 'penstock' ? 3 : 1.5;
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="${strokeWidth}"/>`);
    const legendX = width - plot.right + 16;
    const legendY = plot.top + 16 + index * 20;
    parts.push(`<rect x="${legendX}" y="${legendY - 10}" width="12" height="12" fill="${colour}"/>`);
    parts.push(text(legendX + 18, legendY, 'start', name));
  }
  return `${parts.join('\n')}\n</svg>\n`;
}

/**
 * Ends at whole powers of ten, or from 0 to the largest value. Without values: one decade, so that the frame is drawn.
 * @param {Axis} axis
 * @param {readonly number[]} values
 * @param {number} from pixel of the lower end
 * @param {number} to pixel of the upper end
 */
function scaleOf({ isLog }, values, from, to) {
  const high = Math.max(...values, isLog ? 1e-9 : 0);
  if (!isLog) {
    const top = high === 0 ? 1 : high;
    const ticks = Array.from({ length: linearTickCount + 1 }, (_, index) => (top * index) / linearTickCount);
    return { ticks, at: (/** @type {number} */ value) => from + (value / top) * (to - from) };
  }
  const low = Math.floor(Math.log10(values.length === 0 ? 1 : Math.min(...values)));
  const decades = Math.max(1, Math.ceil(Math.log10(values.length === 0 ? 10 : high)) - low);
  const ticks = Array.from({ length: decades + 1 }, (_, index) => 10 ** (low + index));
  return { ticks, at: (/** @type {number} */ value) => from + ((Math.log10(value) - low) / decades) * (to - from) };
}
