/** The gateway over time: one panel a quantity, all over the same seconds, so that causes stand above their effects. */
import { escaped, line, text } from '../../loadtest/svg.mjs';

const width = 900;
const panelHeight = 110;
const plot = { left: 80, right: 20, top: 60, bottom: 40, gap: 26 };

/** @type {readonly { title: string, colour: string, of: (sample: import('./types.d.ts').Sample) => number }[]} */
const panels = [
  { title: 'resident memory, MB', colour: '#1b6ca8', of: ({ rssMb }) => rssMb },
  { title: 'JavaScript heap of the shards, MB', colour: '#3c7a3f', of: ({ heapMb }) => heapMb },
  { title: 'file descriptors', colour: '#8a5aa8', of: ({ fds }) => fds },
  { title: 'client connections', colour: '#8a6d1b', of: ({ connections }) => connections },
  { title: 'leases open', colour: '#444444', of: ({ leases }) => leases },
  { title: 'body slabs in use', colour: '#1b6ca8', of: ({ slabs }) => slabs },
  { title: 'longest event-loop delay since the last sample, ms', colour: '#c8553d', of: ({ lagMs }) => lagMs },
];

/**
 * @param {string} title
 * @param {string} subtitle
 * @param {readonly import('./types.d.ts').Sample[]} samples
 */
export function timeSvg(title, subtitle, samples) {
  const height = plot.top + panels.length * (panelHeight + plot.gap) + plot.bottom;
  const endS = Math.max(1, samples.at(-1)?.s ?? 1);
  const x = (/** @type {number} */ s) => plot.left + (s / endS) * (width - plot.left - plot.right);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${plot.left}" y="22" font-size="16">${escaped(title)}</text>`,
    `<text x="${plot.left}" y="40" fill="#555555">${escaped(subtitle)}</text>`,
  ];
  for (const [index, panel] of panels.entries()) {
    const top = plot.top + index * (panelHeight + plot.gap);
    const values = samples.map((sample) => panel.of(sample));
    const most = niceAbove(Math.max(1, ...values));
    const y = (/** @type {number} */ value) => top + panelHeight - (value / most) * panelHeight;
    for (const value of [0, most / 2, most]) {
      parts.push(line(plot.left, y(value), width - plot.right, y(value)));
      parts.push(text(plot.left - 8, y(value) + 4, 'end', String(Number(value.toPrecision(3)))));
    }
    parts.push(text(plot.left, top - 6, 'start', panel.title));
    const path = samples.map((sample) => `${x(sample.s).toFixed(1)},${y(panel.of(sample)).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${panel.colour}" stroke-width="1.5"/>`);
  }
  for (let tick = 0; tick <= 10; tick++) {
    parts.push(
      text(x((endS * tick) / 10), height - 14, 'middle', `${((endS * tick) / 10).toFixed(endS < 20 ? 1 : 0)} s`),
    );
  }
  return `${parts.join('\n')}\n</svg>\n`;
}

/** 1, 2 or 5 times a power of ten. @param {number} value */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power;
}
